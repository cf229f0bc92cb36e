"""Studies side by side, and the two small commands."""

import io
import json
from pathlib import Path

import optuna
import pytest
from rich.console import Console

from foretune.datasets import PriceSeries
from foretune.datasets.common.errors import ConfigError
from foretune.search import SearchSpace, run_study
from foretune.search.cli.main import main
from foretune.search.review.compare import comparison_table
from foretune.search.space.schema import space_schema


def searched(storage: str, name: str, prices: PriceSeries, space: SearchSpace) -> optuna.Study:
    return run_study(
        name,
        prices,
        n_trials=2,
        space=space,
        horizon=5,
        storage=storage,
        workers=1,
        show_progress_bar=False,
        target="mid",
    )


def printed(studies: list[optuna.Study]) -> str:
    console = Console(width=120, file=io.StringIO())
    with console.capture() as capture:
        console.print(comparison_table(studies))
    return capture.get()


def test_bests_side_by_side(
    tmp_path: Path,
    walk: PriceSeries,
    tiny_space: SearchSpace,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    first = searched(url, "first", walk, tiny_space)
    second = searched(url, "second", walk, tiny_space.fix(units=6))
    shown = printed([first, second])
    for study in (first, second):
        assert f"{study.best_value:.6f}" in shown
    assert "[4]" in shown
    assert "[6]" in shown
    assert "The same prices and the same origins: the values are comparable." in shown
    # What is the same for both is left out.
    assert "clip_norm" not in shown
    third = searched(url, "third", walk.head(480), tiny_space)
    assert "the values are not comparable" in printed([first, third])
    main(["compare", "first", "second", "--storage", url])
    assert "second" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["compare", "first", "--storage", url])
    assert stop.value.code == 2
    assert "studies to compare must be at least 2, but got 1" in capsys.readouterr().err


def test_a_study_without_a_result_is_named(walk: PriceSeries) -> None:
    with pytest.raises(ConfigError, match="must be one that foretune made"):
        comparison_table([optuna.create_study(), optuna.create_study()])


def test_the_schema_command_prints_or_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["schema", "space"])
    assert json.loads(capsys.readouterr().out) == space_schema()
    main(["schema", "config", "--out", str(tmp_path / "config.schema.json")])
    assert json.loads((tmp_path / "config.schema.json").read_text())["title"] == "foretune config"
