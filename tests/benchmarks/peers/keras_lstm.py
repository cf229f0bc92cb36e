"""Optuna + Keras on TensorFlow: ``LSTM`` layers trained by ``fit``, as a Keras user writes them.

Its batches are windows from random days with a zero state, and its forecasts slide a window.
"""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops
from protocol import main
from reference import BATCH, CLIP, EPOCHS, HORIZON, STEPS, Configuration


def stacked(configuration: Configuration) -> keras.Model:
    """LSTM layers with dropout on their outputs, and a linear head."""
    model = keras.Sequential([layers.Input((configuration.unroll_length, 1))])
    for units in configuration.units:
        # Not recurrent_dropout: it takes the layer off its fast paths.
        model.add(layers.LSTM(units, return_sequences=True))
        model.add(layers.Dropout(configuration.dropout))
    model.add(layers.Dense(1))
    return model


def half_squared_error(y, outputs):
    """Half the squared error, summed over the unroll; ``compile`` averages over the batch."""
    return 0.5 * ops.sum(ops.square(outputs - y), axis=(1, 2))


class Validation(keras.callbacks.Callback):
    """After every epoch forecast recursively from every origin, over sliding windows."""

    def __init__(self, model: keras.Model, series, origins, unroll: int) -> None:
        super().__init__()
        self.windows = tf.constant(series[origins[:, None] + np.arange(1 - unroll, 1)])
        self.came = series[origins[:, None] + np.arange(1, HORIZON + 1)]
        self.best = float("inf")

        @tf.function
        def forecast(windows):
            forecasts = tf.TensorArray(tf.float32, HORIZON)
            for day in tf.range(HORIZON):
                outputs = model(windows[..., None], training=False)[:, -1]
                forecasts = forecasts.write(day, outputs[:, 0])
                windows = tf.concat([windows[:, 1:], outputs], axis=1)
            return tf.transpose(forecasts.stack())

        self.forecast = forecast

    def on_epoch_end(self, epoch, logs=None):
        """Keep the best validation error."""
        error = np.square(self.forecast(self.windows).numpy() - self.came).mean()
        self.best = min(self.best, float(error))


def train(configuration: Configuration, series, train_length, origins) -> float:
    """Train one configuration; returns its best validation error in scaled units."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    series = series.astype(np.float32)
    unroll, train_length = configuration.unroll_length, int(train_length)
    starts = np.random.default_rng(0).integers(0, train_length - unroll, (EPOCHS * STEPS, BATCH, 1))
    windows = series[starts + np.arange(unroll + 1)][..., None]
    batches = tf.data.Dataset.from_tensor_slices((windows[:, :, :-1], windows[:, :, 1:]))
    # The thread that tunes a pipeline sleeps on when fit returns: up to a second per trial.
    untuned = tf.data.Options()
    untuned.autotune.enabled = False
    batches = batches.with_options(untuned)
    model = stacked(configuration)
    model.compile(
        optimizer=keras.optimizers.Adam(configuration.learning_rate, global_clipnorm=CLIP),
        loss=half_squared_error,
        steps_per_execution=STEPS,
    )
    validation = Validation(model, series, origins, unroll)
    model.fit(
        batches,
        epochs=EPOCHS,
        steps_per_epoch=STEPS,
        callbacks=[validation],
        shuffle=False,
        verbose=0,
    )
    return validation.best


def prepare() -> None:
    """Use one thread, as every worker of every system here."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


if __name__ == "__main__":
    main(train, prepare)
