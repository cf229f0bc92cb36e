"""SearchSpace: what a study may choose from, and the config that a trial chose."""

from typing import Any, ClassVar, Literal, Self

from optuna.trial import BaseTrial
from pydantic import model_validator

from foretune.datasets.common.errors import ConfigError
from foretune.datasets.common.html_table import html_table
from foretune.datasets.common.toml_files import TomlModel
from foretune.datasets.transforms import ScalingName
from foretune.models.config import (
    MAX_LAYERS,
    CellName,
    HeadName,
    LossName,
    OptimizerName,
    SkipName,
    TrialConfig,
    WindowScalingName,
)
from foretune.search.space.dimensions import (
    TAGS,
    FloatDimension,
    FloatRange,
    IntDimension,
    IntRange,
    NameDimension,
    ends,
    format_dimension,
    suggest,
)

# What only one of the heads has.
OF_HEAD: dict[HeadName, tuple[str, ...]] = {
    "direct": ("window_scaling", "head_units"),
    "recursive": ("warm_up", "carry_state"),
}


def not_of(head: HeadName) -> tuple[str, ...]:
    """Return the parameters that ``head`` does not have."""
    return tuple(name for other, names in OF_HEAD.items() if other != head for name in names)


class SearchSpace(TomlModel):
    """What a study searches: each field a range, a tuple of choices, or one fixed value.

    In TOML a range is a table, choices are an array, a fixed value is itself::

        units = [32, 64]
        learning_rate = {low = 1e-4, high = 1e-2, log = true}
        dropout = 0.2

    The fields are those of :class:`TrialConfig`, except that ``layers`` and ``units`` (drawn
    for each layer: parameters ``units_1``, ``units_2``, ...) make its ``units``, and that
    ``pad_units_to`` may be ``"auto"``: 1, but for a range of units a multiple that leaves at most
    four widths a layer to compile. :func:`run_study` chooses what is not given for the data:
    :func:`default_space` says what.

    A parameter that the chosen head cannot have, such as a ``warm_up`` of a direct head, is not
    drawn.

    Example:
        >>> space = SearchSpace(layers=1, units=(16, 32), epochs=5)
        >>> space.suggest(optuna.trial.FixedTrial(
        ...     {"units_1": 32, "unroll_length": 25, "learning_rate": 1e-3, "dropout": 0.1}
        ... )).units
        (32,)
    """

    _WHAT: ClassVar[str] = "a search space"
    _TAGS: ClassVar[tuple[str, ...]] = TAGS

    layers: IntDimension = (1, 2)
    units: IntDimension = (32, 64)
    pad_units_to: int | Literal["auto"] = "auto"
    unroll_length: IntDimension = (25, 50)
    segment_length: IntDimension = 1
    head: NameDimension[HeadName] = "recursive"
    head_units: IntDimension = 32
    skip: NameDimension[SkipName] = "none"
    window_scaling: NameDimension[WindowScalingName] = "none"
    warm_up: IntDimension = 0
    carry_state: NameDimension[bool] = True
    past_covariates: NameDimension[bool] = False
    future_covariates: NameDimension[bool] = False
    static_covariates: NameDimension[bool] = False
    calendar_features: NameDimension[bool] = False
    loss: NameDimension[LossName] = "mse"
    learning_rate: FloatDimension = FloatRange(low=1e-4, high=1e-2, log=True)
    dropout: FloatDimension = FloatRange(low=0.0, high=0.5)
    batch_size: IntDimension = 64
    cell: NameDimension[CellName] = "lstm"
    optimizer: NameDimension[OptimizerName] = "adam"
    scaling: NameDimension[ScalingName] = "log_returns"
    scaling_window: int = 2500
    smoothing: float = 0.0
    averaging: float = 0.0
    label_offset: int = 1
    clip_norm: float = 5.0
    epochs: int = 12
    steps_per_epoch: int = 60
    decay_factor: float = 0.5
    decay_patience: int = 2
    min_learning_rate: float = 1e-6
    stop_patience: int = 5
    seed: int = 0

    @model_validator(mode="after")
    def _every_candidate_is_allowed(self) -> Self:
        """Try the ends of every range and every choice on TrialConfig, whose rules count."""
        for layers in ends(self.layers):
            if not 1 <= layers <= MAX_LAYERS:
                raise ConfigError(f"layers must be 1 to {MAX_LAYERS}, but got {layers}")
        heads = ends(self.head)
        for name in type(self).model_fields:
            known = name == "layers" or getattr(self, name) == "auto"
            # A value has to suit a head that the space has.
            head = next((head for head in heads if name in OF_HEAD.get(head, ())), heads[0])
            for value in () if known else ends(getattr(self, name)):
                candidate: dict[str, Any] = {name: (value,) if name == "units" else value}
                TrialConfig(**{"head": head} | candidate)
        if max(ends(self.label_offset)) > 1:
            for name in ("head", "skip", "segment_length"):
                for value in ends(getattr(self, name)):
                    TrialConfig(**{name: value, "label_offset": max(ends(self.label_offset))})
        return self

    def suggest(self, trial: BaseTrial) -> TrialConfig:
        """Return the config that ``trial`` chooses.

        Args:
            trial: a live trial, a ``FixedTrial`` or a stored ``FrozenTrial``; the same
                parameters give the same config from each of them.
        """
        layers = suggest(trial, "layers", self.layers)
        units = tuple(suggest(trial, f"units_{n}", self.units) for n in range(1, layers + 1))
        head = suggest(trial, "head", self.head)
        others = {
            name: suggest(trial, name, getattr(self, name))
            for name in type(self).model_fields
            if name not in ("layers", "units", "pad_units_to", "head", *not_of(head))
        }
        others["head"] = head
        return TrialConfig(units=units, pad_units_to=self._padding, **others)

    @property
    def _padding(self) -> int:
        if isinstance(self.pad_units_to, int):
            return self.pad_units_to
        if not isinstance(self.units, IntRange):
            return 1
        low, high, step = self.units.low, self.units.high, self.units.step
        if not self.units.log and (high - low) // step < 4:
            return 1
        # The smallest power of two of which at most four multiples cover the range.
        powers: list[int] = [2**power for power in range(3, 13)]
        return min(p for p in powers if -(-high // p) - (low - 1) // p <= 4)

    def fix(self, **values: Any) -> Self:
        """Return this space with fields replaced, e.g. ``space.fix(dropout=0.2, epochs=20)``."""
        return self.replace(**values)

    @property
    def history(self) -> int:
        """Rows that a forecast or an unroll and its furthest label span, whatever is chosen."""
        unroll, warm_up = max(ends(self.unroll_length)), max(ends(self.warm_up))
        rows = max(unroll + max(ends(self.label_offset)) - 1, warm_up)
        return max(int(-(-rows // segment) * segment) for segment in ends(self.segment_length))

    def _repr_html_(self) -> str:
        """Show every parameter with its range and scale in a notebook."""
        rows = [(name, *format_dimension(getattr(self, name))) for name in type(self).model_fields]
        return html_table(rows, header=("parameter", "range", "scale"), caption="SearchSpace")
