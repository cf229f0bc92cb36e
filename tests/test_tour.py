"""The tour of docs/reuse.md, as it stands there, run by a shell and by Python."""

from pathlib import Path

import pandas as pd
import pytest
from printed_output import assert_same_output, output_script

PAGE = Path(__file__).parents[1] / "docs/reuse.md"


@pytest.mark.slow
def test_the_tour_runs_as_it_is_printed(tmp_path: Path) -> None:
    script, text = output_script(), PAGE.read_text(encoding="utf-8")
    ran = script.run(text, tmp_path)
    for block, output in zip(script.BLOCK.finditer(text), ran, strict=True):
        if block["output"] is not None:
            assert_same_output(block["output"], output)
    said = " ".join(" ".join(ran).split())
    assert "as in the study" in said
    assert "This verdict does not use the test." in said
    assert "the values are comparable" in said
    forecast = pd.read_csv(tmp_path / "forecast.csv")
    assert list(forecast.columns) == ["date", "forecast", "lower", "upper"]
    assert len(forecast) == 10
    assert (tmp_path / "forecast.png").stat().st_size > 10_000
    for file in ("best.toml", "results/tour/report.html", "results/again/trials.csv"):
        assert (tmp_path / file).is_file()
