"""A report as files: one HTML page, the same as Markdown, tables as CSV, figures as PNG."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from foretune.datasets.common.files import (
    make_folder,
    require_file_place,
    require_folder_place,
    write_atomically,
)
from foretune.models.forecasts.intervals import interval
from foretune.search.figures.style import png
from foretune.search.report.any_study import LossReport
from foretune.search.report.document import FOLDER, html, markdown
from foretune.search.report.figures import FIGURES, report_figures
from foretune.search.report.report import EvaluationSet, Report

_FILES = (
    "report.html",
    "report.md",
    "verdict.json",
    "metrics.csv",
    "forecasts.csv",
    "series.csv",
    *(f"{FOLDER}/{name}.png" for name in FIGURES),
)


def require_report_place(out: str | os.PathLike[str]) -> Path:
    """Refuse a folder that a report could not be written into: before the test is opened for it.

    Raises:
        ConfigError: it cannot be made or written to, or there is no place for one of the files.
    """
    folder = require_folder_place(out)
    require_folder_place(folder / FOLDER)
    for file in (folder / name for name in _FILES):
        # A folder that is missing will be made.
        if file.parent.exists():
            require_file_place(file)
    return folder


def write_report(report: Report | LossReport, out: str | os.PathLike[str]) -> list[Path]:
    """Write ``report`` into the folder ``out``, each file whole or not at all.

    Args:
        report: what :func:`make_report` or :func:`make_loss_report` returned.
        out: a folder, made where it is missing.

    Returns:
        The files: ``report.html`` (which needs no other), ``report.md``, ``verdict.json`` and
        ``metrics.csv``; of a study that foretune ran also ``forecasts.csv`` and ``figures/*.png``,
        and of several series ``series.csv``.

    Raises:
        ConfigError: a file cannot be written.

    Example:
        >>> write_report(make_report(study, prices), "results/sp500")
    """
    folder = make_folder(require_report_place(out))
    images: dict[str, bytes] = {}
    if isinstance(report, LossReport):
        document, tables = report.markdown(), {"metrics.csv": report.metrics_table()}
    else:
        make_folder(folder / FOLDER)
        images = {
            f"{FOLDER}/{name}.png": png(figure) for name, figure in report_figures(report).items()
        }
        document = markdown(report)
        tables = {"metrics.csv": metrics_table(report), "forecasts.csv": forecasts_table(report)}
        if len(report.names) > 1:
            tables["series.csv"] = series_table(report)
    files: dict[str, str | bytes] = {
        "report.html": html(document, report.study.study_name, images),
        "report.md": document,
        "verdict.json": json.dumps(report.finding.document(), indent=2) + "\n",
        **{name: table.to_csv(index=False) for name, table in tables.items()},
        **images,
    }
    for name, content in files.items():
        write_atomically(folder / name, content)
    return [folder / name for name in files]


def metrics_table(report: Report) -> pd.DataFrame:
    """Return one row per part and forecast, the winner's first, with every metric."""
    return pd.DataFrame(
        [
            {"part": part.name, "forecast": name, **asdict(model.metrics)}
            for part in report.parts
            for name, model in part.models.items()
        ]
    )


def series_table(report: Report) -> pd.DataFrame:
    """Return one row per part, series and forecast, the winner's first, with every metric."""
    return pd.DataFrame(
        [
            {"part": part.name, "series": series, "forecast": name, **asdict(metrics[number])}
            for part in report.parts
            for number, series in enumerate(part.names)
            for name, metrics in part.by_series.items()
        ]
    )


def forecasts_table(report: Report) -> pd.DataFrame:
    """Return the winner's forecasts as values: one row per part, origin and step ahead.

    Of several series also one row for each, whose times are its own.
    """
    of_each = [
        _forecasts(part, series) for part in report.parts for series in range(len(part.names))
    ]
    table = pd.concat(of_each, ignore_index=True)
    return table if len(report.names) > 1 else table.drop(columns="series")


def _forecasts(part: EvaluationSet, series: int) -> pd.DataFrame:
    growth, widths = part.growth[series], part.widths[series]
    count, horizon = growth.shape
    time, values, origins = part.own_rows(series)
    low, high = interval(growth, widths)
    rows = origins[:, None] + np.arange(1, horizon + 1)
    columns = {"forecast": growth, "lower": low, "upper": high, "actual": part.actual[series]}
    return pd.DataFrame(
        {
            "part": part.name,
            "series": part.names[series],
            "origin": time[np.repeat(origins, horizon)],
            "step": np.tile(np.arange(1, horizon + 1), count),
            "date": time[rows.ravel()],
        }
        | {
            name: part.spaces[series].after(changes, origins, values).ravel()
            for name, changes in columns.items()
        }
    )
