import re
import shlex
import textwrap
from pathlib import Path

import click
import pytest

from foretune.search import SearchSpace
from foretune.search.cli.main import cli, main
from foretune.studies import quickstart

TINY = SearchSpace(layers=1, units=4, unroll_length=8, batch_size=8, epochs=1, steps_per_epoch=2)


@pytest.mark.slow
def test_it_ends_with_what_to_do_next_and_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The real script on the real prices, with a smaller search."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(quickstart, "TRIALS", 2)
    monkeypatch.setattr(quickstart, "SPACE", TINY)
    quickstart.main()
    out = capsys.readouterr().out
    snippet = textwrap.dedent(out.split("reuse the best config:\n")[1])
    exec(compile(snippet, "quickstart", "exec"), {})
    epoch, value = capsys.readouterr().out.split()
    assert epoch == "1"
    assert f"{float(value):.6f}" in out
    follow(out)


def follow(said: str) -> None:
    """Run the commands that it names, in their order; the dashboard would not end."""
    commands = [shlex.split(line) for line in re.findall(r"\.venv/bin/foretune (.*)", said)]
    assert [name for name, *_ in commands] == ["dashboard", "report", "fit", "forecast", "run"]
    assert "dashboard" in cli.list_commands(click.Context(cli))
    assert commands[-1][-2:] == ["--trials", "40"]
    commands[-1][-1] = "3"
    for command in commands[1:]:
        main(command)
    for file in ("report.html", "model/forecaster.toml"):
        assert Path(quickstart.OUT, file).is_file()
