"""A file of each calendar through run, report, fit and forecast: the dates that come next."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import Run

SPACE = """
layers = 1
units = 4
unroll_length = 4
batch_size = 8
steps_per_epoch = 2
epochs = 1
"""


def wave(rows: int, season: int) -> np.ndarray:
    noise = np.random.default_rng(1).normal(0, 0.3, rows)
    return 10 + np.sin(2 * np.pi * np.arange(rows) / season) + noise


def sessions() -> pd.DataFrame:
    """Prices of Sundays to Thursdays but for one holiday; the last day is Thursday 2023-02-02."""
    days = pd.date_range(end="2023-02-02", periods=560)
    days = days[days.day_of_week.isin([6, 0, 1, 2, 3]) & (days != "2022-10-09")]
    price = wave(len(days), 30)
    prices = {"Open": price, "High": price + 1, "Low": price - 1, "Close": price}
    return pd.DataFrame({"Date": days} | prices)


def new_york() -> pd.DataFrame:
    """Prices of all sessions of 2019 and 2020 in New York, by the holidays it published."""
    closed = """
        2019-01-01 2019-01-21 2019-02-18 2019-04-19 2019-05-27 2019-07-04 2019-09-02 2019-11-28
        2019-12-25 2020-01-01 2020-01-20 2020-02-17 2020-04-10 2020-05-25 2020-07-03 2020-09-07
        2020-11-26 2020-12-25
    """
    days = pd.bdate_range("2019-01-01", "2020-12-31").difference(pd.DatetimeIndex(closed.split()))
    price = wave(len(days), 30)
    prices = {"Open": price, "High": price + 1, "Low": price - 1, "Close": price}
    return pd.DataFrame({"Date": days} | prices)


INDIA = pd.date_range("2024-01-05", periods=300, freq="h")

SERIES = {
    "months, by all defaults": (
        pd.DataFrame(
            {
                "Month": pd.date_range("2010-01", periods=144, freq="MS").strftime("%Y-%m"),
                "Passengers": wave(144, 12),
            }
        ),
        "144 rows, 2010-01-01 to 2021-12-01, monthly, Passengers",
        "horizon 12 months (a season), stride 2, gap 12; 72 months train, 24 validate, 24 test",
        [f"2022-{month:02}-01" for month in range(1, 13)],
    ),
    "weeks": (
        pd.DataFrame(
            {
                "week": pd.date_range("2020-01-05", periods=120, freq="W-SUN"),
                "visits": wave(120, 52),
            }
        ),
        "120 rows, 2020-01-05 to 2022-04-17, weekly, on Sundays, visits",
        "horizon 10 weeks (a twelfth of the rows), stride 2, gap 10",
        ["2022-04-24", "2022-05-01", "2022-05-08"],
    ),
    "hours of a zone": (
        pd.DataFrame({"at": [f"{hour}+05:30" for hour in INDIA], "load": wave(300, 24)}),
        "300 rows, 2024-01-05 00:00:00+05:30 to 2024-01-17 11:00:00+05:30, hourly, load",
        "horizon 24 hours (a season), stride 4, gap 24",
        ["2024-01-17 12:00:00+05:30", "2024-01-17 13:00:00+05:30"],
    ),
    "sessions from Sunday to Thursday": (
        sessions(),
        "399 rows, 2021-07-25 to 2023-02-02, sessions (Sunday to Thursday), close price",
        "horizon 50 days (the default for prices), stride 10, gap 50",
        ["2023-02-05", "2023-02-06", "2023-02-07", "2023-02-08", "2023-02-09", "2023-02-12"],
    ),
    "sessions of an exchange": (
        new_york(),
        "505 rows, 2019-01-02 to 2020-12-31, sessions of XNYS, close price",
        "horizon 50 days (the default for prices), stride 10, gap 50",
        [*(f"2021-01-{day:02}" for day in (4, 5, 6, 7, 8, 11, 12, 13, 14, 15, 19, 20))],
    ),
    "whole numbers": (
        pd.DataFrame({"step": np.arange(0, 1300, 2), "y": wave(650, 12) - 10}),
        "650 rows, 0 to 1298, whole numbers, step 2, y",
        "horizon 50 steps (the default where no season is known), stride 10, gap 50",
        ["1300", "1302", "1304"],
    ),
}


@pytest.mark.parametrize("kind", SERIES)
def test_a_forecast_continues_the_calendar(command: Run, tmp_path: Path, kind: str) -> None:
    frame, read, plan, ahead = SERIES[kind]
    frame.to_csv("data.csv", index=False)
    options = ["--epochs", "1"]
    if "defaults" not in kind:
        Path("space.toml").write_text(SPACE)
        options = ["--space", "space.toml"]
    options += ["--freq", "XNYS"] * (kind == "sessions of an exchange")
    study = ("--study", "s")
    run = ("run", "--data", "data.csv", *study, "--trials", "1", "--workers", "1", *options)
    code, _, err = command(*run)
    assert code == 0, err
    first, second, *_ = err.splitlines()
    assert first.startswith(f"foretune: data.csv: {read}; stored with the study, ")
    assert second.startswith(f"foretune: {plan}")
    assert "bit-identical" in command("replay", *study, "--trial", "0")[1]
    code, _, err = command("report", *study)
    assert code == 0, err
    words = (tmp_path / "results" / "s" / "report.md").read_text()
    if "sessions" not in kind:
        assert "price" not in words
        assert " day" not in words
    code, _, err = command("fit", "results/s/best.toml")
    assert code == 0, err
    code, out, err = command("forecast", "model", "--csv", "f.csv", "--plot", "f.png")
    assert code == 0, err
    forecast = pd.read_csv("f.csv", dtype=str)
    assert forecast.columns[0].lower() == frame.columns[0].lower()
    assert forecast.iloc[: len(ahead), 0].tolist() == ahead
    assert ahead[0] in out
