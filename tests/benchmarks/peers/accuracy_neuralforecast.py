"""neuralforecast's ``AutoLSTM`` or ``NHITS`` on one series: its forecasts at the test's origins.

Their own defaults, but for the loss, which is the squared error that is reported, and NHITS's
context of 150 steps and standardised windows. ``AutoLSTM`` chooses among a few configurations on
validation and then fits the best one again, as it always does, to all rows before the test; NHITS,
which chooses nothing, is fitted to these at once. So both end with more rows to learn from than
foretune's winner, which has the training part alone. The rows of a gap before the test count as
validation. A context of 64 horizons, one of AutoLSTM's choices, is longer than the training part of
a short series, which neuralforecast refuses: there it is padded with zeros, as its message
proposes.
"""

import argparse
import json
import logging
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pandas as pd
from neuralforecast import NeuralForecast
from neuralforecast.auto import AutoLSTM
from neuralforecast.losses.pytorch import MSE
from neuralforecast.models import NHITS

QUIET = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_model_summary": False,
    "enable_progress_bar": False,
}
CONTEXT = 150
SAMPLES = 6

# No sample is begun after so many seconds of AutoLSTM's search.
TIME_BUDGET = 1800

# Horizons in the longest context that AutoLSTM may choose.
LONGEST = 64


def auto_lstm(
    horizon: int, covariates: list[str], *, samples: int, rows: int, changed: dict[str, Any]
) -> AutoLSTM:
    """Return AutoLSTM with its own search space, for a training part of so many rows."""
    own = QUIET | {"futr_exog_list": covariates} | changed
    if rows < (LONGEST + 1) * horizon:
        own["start_padding_enabled"] = True
    default: Callable[[Any], dict[str, Any]] = AutoLSTM.get_default_config(horizon, "optuna")
    return AutoLSTM(
        h=horizon,
        loss=MSE(),
        config=lambda trial: default(trial) | own,
        search_alg=optuna.samplers.TPESampler(seed=0),
        num_samples=samples,
        time_budget=TIME_BUDGET,
        backend="optuna",
    )


def nhits(horizon: int, covariates: list[str], changed: dict[str, Any]) -> NHITS:
    """Return NHITS as it is by default, but for windows that are standardised.

    Its default leaves them as they are, which spoils it on a series with a trend. With covariates
    the default stays: one that stands still in a window, such as a holiday, would be divided by
    almost nothing (MSE 11 on bikes).
    """
    return NHITS(
        h=horizon,
        input_size=CONTEXT,
        loss=MSE(),
        futr_exog_list=covariates,
        scaler_type="identity" if covariates else "standard",
        **QUIET | changed,
    )


def main() -> None:
    """Fit the model that the command line names and write its forecasts [O, H] to a file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", choices=["AutoLSTM", "NHITS"])
    parser.add_argument("--data", required=True, help="what accuracy.py wrote of the series")
    parser.add_argument("--out", required=True, help="file for the forecasts")
    parser.add_argument("--quick", action="store_true", help="one sample, a few steps")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for name in ("pytorch_lightning", "lightning_fabric", "lightning", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)

    data = dict(np.load(arguments.data))
    origins, horizon = data["test_origins"], int(data["horizon"])
    stride = int(data["stride"])
    stop = int(origins[-1]) + horizon + 1
    covariates = {f"x{k}": column[:stop] for k, column in enumerate(data["future"].T)}
    frame = pd.DataFrame(
        {"unique_id": "series", "ds": np.arange(stop), "y": data["values"][:stop]} | covariates
    ).astype(dict.fromkeys(("y", *covariates), np.float32))
    changed = {"max_steps": 10} if arguments.quick else {}
    if arguments.model == "NHITS":
        model, validation = nhits(horizon, list(covariates), changed), 0
    else:
        rows = int(data["validation_start"])
        samples = 1 if arguments.quick else SAMPLES
        model = auto_lstm(horizon, list(covariates), samples=samples, rows=rows, changed=changed)
        validation = int(origins[0]) + 1 - rows
    forecaster = NeuralForecast(models=[model], freq=1)
    found = forecaster.cross_validation(
        frame,
        n_windows=None,
        val_size=validation,
        test_size=stop - int(origins[0]) - 1,
        step_size=stride,
    )
    found = found.sort_values(["cutoff", "ds"])
    (column,) = set(found.columns) - {"unique_id", "ds", "cutoff", "y"}
    forecasts = found[column].to_numpy(dtype=np.float64).reshape(-1, horizon)
    cutoffs = found["cutoff"].to_numpy().reshape(-1, horizon)
    if not np.array_equal(cutoffs[:, 0], origins):
        raise SystemExit("the forecasts are not of the test's origins")
    np.save(arguments.out, forecasts)
    chosen = {}
    if arguments.model == "AutoLSTM":
        search = forecaster.models[0].results
        best = search.best_trial
        chosen = {
            "samples": len(search.trials),
            "params": best.params,
            "validation_error": best.value,
        }
    print(json.dumps(chosen))


if __name__ == "__main__":
    main()
