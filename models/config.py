"""TrialConfig: everything that determines one trained model."""

import os
from typing import Annotated, Any, ClassVar, Literal, Self

import tomli_w
from pydantic import Field, model_validator

from foretune.datasets.common.errors import ConfigError
from foretune.datasets.common.files import write_atomically
from foretune.datasets.common.html_table import html_table
from foretune.datasets.common.records import Listed
from foretune.datasets.common.toml_files import TomlModel
from foretune.datasets.transforms import ScalingName

CellName = Literal["lstm", "peephole_lstm", "gru"]
OptimizerName = Literal["adam", "adamw", "rmsprop", "sgd_momentum"]
HeadName = Literal["recursive", "direct"]
SkipName = Literal["none", "linear"]
LossName = Literal["mse", "mae", "huber"]
WindowScalingName = Literal["none", "last", "mean", "standard", "step"]

# What a study may choose its epochs and trials by; not of a config, of the study.
MetricName = Literal["relative_mse", "mse", "mae", "mase", "smape"]

# The fields that switch each group of covariates on.
COVARIATE_OPTIONS = {
    "past": "past_covariates",
    "future": "future_covariates",
    "static": "static_covariates",
    "calendar": "calendar_features",
}

MAX_UNITS = 4096
MAX_LAYERS = 8
MAX_COUNT = 1_000_000

Units = Annotated[Listed[Annotated[int, Field(ge=1, le=MAX_UNITS)]], Field(max_length=MAX_LAYERS)]


class TrialConfig(TomlModel):
    """One point of a search: what was searched and what was held fixed.

    A file of it has a ``[config]`` table; other tables in it are not looked at.

    The same config on the same prices and split, on the same machine, gives the same model bit
    for bit.

    Example:
        >>> config = TrialConfig(units=(64, 32), learning_rate=3e-3)
        >>> TrialConfig.from_toml(config.to_toml()) == config
        True
    """

    _WHAT: ClassVar[str] = "a config"

    cell: CellName = Field(default="lstm", description="recurrent cell of every layer")
    units: Units = Field(default=(32,), description="units of each layer, first layer first")
    pad_units_to: int = Field(
        default=1,
        ge=1,
        le=MAX_UNITS,
        description="units of each layer are padded with zero weights to a multiple of this, so "
        "that several widths share a compiled program; the network is the same",
    )
    unroll_length: int = Field(
        default=50,
        ge=2,
        le=4096,
        description="rows unrolled for one gradient, and read before a forecast",
    )
    segment_length: int = Field(
        default=1,
        ge=1,
        le=4096,
        description="rows that the network reads at a time; unroll_length is rounded up to whole "
        "segments",
    )
    head: HeadName = Field(
        default="recursive",
        description="recursive feeds one step's forecast back as the next input; direct gives all "
        "steps at once",
    )
    head_units: int = Field(
        default=32, ge=1, le=MAX_UNITS, description="hidden units of a direct head"
    )
    skip: SkipName = Field(
        default="none",
        description="linear adds the network to a ridge regression on lags and covariates, at "
        "which it starts",
    )
    window_scaling: WindowScalingName = Field(
        default="none",
        description="what a direct head subtracts from each window and divides it by: nothing; the "
        "last value; the mean; mean and standard deviation; last value and mean absolute step",
    )
    warm_up: int = Field(
        default=0,
        ge=0,
        le=MAX_COUNT,
        description="rows that a recursive head reads before a forecast; 0 is unroll_length",
    )
    carry_state: bool = Field(
        default=True,
        description="whether the next batch of a recursive head goes on where the last one ended, "
        "with its state; else, as always with a direct head, every batch reads random windows",
    )
    past_covariates: bool = Field(
        default=False, description="whether covariates known up to the origin are read"
    )
    future_covariates: bool = Field(
        default=False, description="whether covariates known for the steps ahead are read"
    )
    static_covariates: bool = Field(
        default=False, description="whether covariates that never change are read"
    )
    calendar_features: bool = Field(
        default=False, description="whether sine and cosine of hour, weekday, ... are read"
    )
    loss: LossName = Field(
        default="mse",
        description="what training minimises: half the squared error, the absolute one, or Huber's",
    )
    batch_size: int = Field(default=64, ge=1, le=65536, description="sequences read side by side")
    learning_rate: float = Field(default=1e-3, gt=0, le=10, description="initial learning rate")
    dropout: float = Field(
        default=0.2, ge=0, lt=1, description="share of each layer's outputs and state set to zero"
    )
    optimizer: OptimizerName = Field(
        default="adam", description="gradient transformation from optax"
    )
    clip_norm: float = Field(
        default=5.0, gt=0, le=1e30, description="global norm that gradients are clipped to"
    )
    scaling: ScalingName = Field(
        default="log_returns", description="what the network reads and predicts"
    )
    scaling_window: int = Field(
        default=2500,
        ge=2,
        le=MAX_COUNT,
        description="days per window of windowed_min_max; unused by log_returns",
    )
    smoothing: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="weight of the past in the moving average that smooths the training days; "
        "0 leaves them as they are",
    )
    averaging: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="weights that forecast are a moving average over the steps, in which the past "
        "has this weight; 0 is the last step's",
    )
    label_offset: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="labels lie 1 to this many rows after their input, drawn again each time; 1 "
        "with a direct head, a linear skip or segments",
    )
    epochs: int = Field(default=12, ge=1, le=100_000, description="maximum number of epochs")
    steps_per_epoch: int = Field(
        default=60, ge=1, le=MAX_COUNT, description="gradient steps an epoch"
    )
    decay_factor: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="factor applied to the learning rate when validation stops improving",
    )
    decay_patience: int = Field(
        default=2,
        ge=0,
        le=MAX_COUNT,
        description="epochs without a better validation value before the decay",
    )
    min_learning_rate: float = Field(default=1e-6, ge=0, description="floor of the decay")
    stop_patience: int = Field(
        default=5,
        ge=1,
        le=MAX_COUNT,
        description="epochs without a better validation value before training stops",
    )
    seed: int = Field(
        default=0, ge=0, lt=2**32, description="seed of weights, dropout and the cursors' jumps"
    )

    @property
    def padded_units(self) -> tuple[int, ...]:
        """Units of each layer as they are compiled: rounded up to ``pad_units_to``."""
        return tuple(-(-unit // self.pad_units_to) * self.pad_units_to for unit in self.units)

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        """Refuse what no program can train together."""
        recursive = self.head == "recursive"
        plain = recursive and self.skip == "none" and self.segment_length == 1
        rules = (
            (
                plain or self.label_offset == 1,
                "label_offset",
                "1 unless head is 'recursive', skip 'none' and segment_length 1",
            ),
            (
                not recursive or self.window_scaling == "none",
                "window_scaling",
                "'none' with a recursive head, whose state knows no window",
            ),
            (recursive or self.warm_up == 0, "warm_up", "0 with a direct head"),
            (recursive or self.carry_state, "carry_state", "True with a direct head"),
        )
        for holds, name, allowed in rules:
            if not holds:
                raise ConfigError(f"{name} must be {allowed}, but is {getattr(self, name)!r}")
        return self

    @property
    def context(self) -> int:
        """Rows of an unroll: ``unroll_length`` rounded up to whole segments."""
        return -(-self.unroll_length // self.segment_length) * self.segment_length

    @property
    def rows_read(self) -> int:
        """Rows that are read before a forecast: the warm-up or context, in whole segments."""
        rows = self.warm_up or self.context  # a direct head has no warm-up
        return -(-rows // self.segment_length) * self.segment_length

    @property
    def history(self) -> int:
        """Rows that an unroll and its furthest label span, or that a forecast reads."""
        return max(self.context + self.label_offset - 1, self.rows_read)

    def _repr_html_(self) -> str:
        """Show the config as a table in a notebook; hovering over a name explains it."""
        fields = type(self).model_fields
        hints = (str(field.description) for field in fields.values())
        return html_table([(name, str(getattr(self, name))) for name in fields], hints=hints)

    def to_toml(self) -> str:
        """Return the config as TOML: one ``[config]`` table with every field."""
        return tomli_w.dumps({"config": self.model_dump()})

    @classmethod
    def _fields_of(cls, table: dict[str, Any]) -> dict[str, Any]:
        """Return the ``[config]`` table; other tables are left alone."""
        fields = table.get("config")
        if not isinstance(fields, dict):
            raise ConfigError(
                f"a config must have a [config] table, but got the keys {sorted(table)}"
            )
        return fields

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the config to ``path`` as TOML, whole or not at all."""
        write_atomically(path, self.to_toml())
