import textwrap
from pathlib import Path

import pytest

from foretune.search import SearchSpace
from foretune.studies import quickstart

TINY = SearchSpace(layers=1, units=4, unroll_length=8, batch_size=8, epochs=1, steps_per_epoch=2)


def test_it_ends_with_what_to_do_next_and_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The real script on the real prices, with a smaller search."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(quickstart, "TRIALS", 2)
    monkeypatch.setattr(quickstart, "SPACE", TINY)
    quickstart.main()
    out = capsys.readouterr().out
    assert "make dashboard" in out
    snippet = textwrap.dedent(out.split("reuse the best config:\n")[1])
    exec(compile(snippet, "quickstart", "exec"), {})
    epoch, value = capsys.readouterr().out.split()
    assert epoch == "1"
    assert f"{float(value):.6f}" in out
