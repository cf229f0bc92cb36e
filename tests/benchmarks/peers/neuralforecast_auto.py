"""neuralforecast's ``AutoLSTM`` with its Optuna backend, which brings its own Optuna loop.

It has the command line and the answer of the other peers, for one worker. What it cannot take over
from the reference study: all layers have the first one's units, and the last one no dropout; every
batch is windows from random days with a zero state, and the error of a window's last day alone is
trained on (``h_train=1``); the 20 origins are consecutive days, the first ones after the training
part; a trial's value is the error after its last epoch, not its best one; Optuna's sampler is not
asked for the configurations. With ``recurrent=True`` the head is ``nn.LSTM``'s own projection to
one number in every layer, so each layer reads and hands on one number: less arithmetic than in the
reference. The refit with the best configuration, which ``AutoLSTM`` always does, is part of the
seconds.
"""

import argparse
import json
import logging
import time
import warnings

import numpy as np
import optuna
import pandas as pd
from neuralforecast import NeuralForecast
from neuralforecast.auto import AutoLSTM
from neuralforecast.losses.pytorch import MSE
from protocol import configurations  # protocol puts reference on the path
from reference import BATCH, CLIP, EPOCHS, HORIZON, STEPS, Configuration

ORIGINS = 20
VALIDATION = HORIZON + ORIGINS - 1


def settings(configuration: Configuration) -> dict:
    """The configuration as keywords of neuralforecast's LSTM and of Lightning's trainer."""
    return {
        "input_size": configuration.unroll_length,
        "encoder_hidden_size": configuration.units[0],
        "encoder_n_layers": len(configuration.units),
        "encoder_dropout": configuration.dropout,
        "recurrent": True,
        "scaler_type": "identity",
        "learning_rate": configuration.learning_rate,
        "max_steps": STEPS * EPOCHS,
        "val_check_steps": STEPS,
        "batch_size": BATCH,
        "windows_batch_size": BATCH,
        "random_seed": 0,
        "gradient_clip_val": CLIP,
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_model_summary": False,
        "enable_progress_bar": False,
        "num_sanity_val_steps": 0,
    }


def main() -> None:
    """Run the study that the command line names and print its seconds and values as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--workers", type=int, default=1, choices=[1])
    arguments = parser.parse_args()
    data = dict(np.load(arguments.data))
    chosen = configurations(arguments.trials)
    prepare()
    started = time.perf_counter()
    series = data["series"][: int(data["train_length"]) + VALIDATION].astype(np.float32)
    frame = pd.DataFrame({"unique_id": "series", "ds": np.arange(len(series)), "y": series})
    auto = AutoLSTM(
        h=HORIZON,
        loss=MSE(),
        # AutoLSTM first tries the function on a mock trial, which has no number.
        config=lambda trial: settings(chosen[getattr(trial, "number", 0)]),
        search_alg=optuna.samplers.TPESampler(seed=0),
        num_samples=len(chosen),
        backend="optuna",
    )
    forecaster = NeuralForecast(models=[auto], freq=1)
    forecaster.fit(frame, val_size=VALIDATION)
    seconds = time.perf_counter() - started
    values = [trial.value for trial in forecaster.models[0].results.trials]
    print(json.dumps({"seconds": seconds, "values": values}))


def prepare() -> None:
    """Keep the libraries quiet; threads are left as they are by default, as many as cores."""
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for name in ("pytorch_lightning", "lightning_fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)


if __name__ == "__main__":
    main()
