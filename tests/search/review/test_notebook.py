"""A study in a notebook: a real kernel runs the cells, and what it would show is read.

The page of all outputs is left in the test's ``tmp_path``.
"""

import html
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

SETTING = """
from foretune.datasets import load_sample
from foretune.search import SearchSpace, best_config, make_report, run_study, summary
import optuna

optuna.logging.set_verbosity(optuna.logging.WARNING)
prices = load_sample("random_walk", length=500, seed=3)
space = SearchSpace(layers=1, units=4, unroll_length=8, batch_size=8, epochs=2, steps_per_epoch=5)
known = {"n_trials": 3, "space": space, "horizon": 5, "storage": "sqlite:///s.db"}
space
"""
ONE, TWO = (
    f'study = run_study("in {n}", prices, workers={n}, **known, target="mid")' for n in (1, 2)
)
SHOW = ("best_config(study)", "summary(study)", "make_report(study, prices, top=2)")
QUIET = "print(optuna.logging.get_verbosity() == optuna.logging.WARNING, len(study.trials))"


def run(cells: tuple[str, ...], folder: Path) -> list[list[Any]]:
    """Run the cells in one kernel; returns the outputs of each."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell.strip()) for cell in cells]
    )
    settings = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=settings).execute()
    outputs = [cell.outputs for cell in notebook.cells]
    (folder / "page.html").write_text("".join(map(as_html, outputs)), encoding="utf-8")
    return outputs


def as_html(outputs: list[Any]) -> str:
    return "<hr>".join(
        output["data"]["text/html"]
        if "data" in output
        else f"<pre>{html.escape(output.text)}</pre>"
        for output in outputs
    )


@pytest.mark.slow
def test_cells_show_a_bar_and_tables_and_no_warning(tmp_path: Path) -> None:
    outputs = run((SETTING, ONE, QUIET, TWO, QUIET, *SHOW), tmp_path)
    said = "".join(o.text for cell in outputs for o in cell if o.get("name") == "stderr")
    # What was read and what is planned, of each run, and nothing else.
    for number, line in enumerate(said.splitlines()):
        start = (
            "foretune: random_walk(",
            "foretune: horizon 5 days, stride 1, gap 5; 294 days train",
        )
        assert line.startswith(start[number % 2])
    assert len(said.splitlines()) == 4
    outputs = [[o for o in cell if o.get("name") != "stderr"] for cell in outputs]
    space, one, quiet_one, two, quiet_two, config, summary, report = outputs
    for name, cell in (("in 1", one), ("in 2", two)):
        (bar,) = cell  # drawn anew in its place, and its last state stays
        assert "3/3" in bar["data"]["text/html"]
        assert name in bar["data"]["text/plain"]
        assert "best " in bar["data"]["text/html"]
        assert "epoch" not in bar["data"]["text/html"]
    for (printed,) in (quiet_one, quiet_two):
        assert printed["text"] == "True 3\n"
    for (shown,), said in (
        (space, "logarithmic"),
        (config, "learning_rate"),
        (summary, "trials by state"),
        (report, "validation: relative MSE"),
    ):
        assert "<table>" in shown["data"]["text/html"]
        assert said in shown["data"]["text/html"]
    assert "study in 2\n┌─" in summary[0]["data"]["text/plain"]
