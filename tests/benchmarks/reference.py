"""R1 and R60, the reference studies, as numbers alone: the peers' environment has no foretune.

Every system trains the same configurations on the same series with the same number of gradient
steps, and forecasts from the same origins after each epoch: standardised log returns of the S&P
500's mid price, batch 64, 60 steps an epoch, 4 epochs, Adam, gradients clipped to norm 5, ½ squared
error summed over the unroll; then 20 origins, 50 recursive steps each.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

BATCH, STEPS, EPOCHS, CLIP, HORIZON, STRIDE = 64, 60, 4, 5.0, 50, 138


@dataclass(frozen=True)
class Configuration:
    """One trial of a reference study."""

    units: tuple[int, ...]
    unroll_length: int
    learning_rate: float
    dropout: float

    @property
    def params(self) -> dict[str, Any]:
        """The configuration as Optuna parameters, under the names of foretune's search space."""
        named = {k: v for k, v in asdict(self).items() if k != "units"}
        widths = {f"units_{n}": units for n, units in enumerate(self.units, start=1)}
        return {"layers": len(self.units), **widths, **named}

    @classmethod
    def of(cls, params: dict[str, Any]) -> "Configuration":
        """Read :attr:`params` back."""
        return cls(
            units=tuple(params[f"units_{n}"] for n in range(1, params["layers"] + 1)),
            unroll_length=params["unroll_length"],
            learning_rate=params["learning_rate"],
            dropout=params["dropout"],
        )


def configurations(count: int) -> list[Configuration]:
    """Draw the first ``count`` configurations: R1 is 12 of them, R60 is 60."""
    rng = np.random.default_rng(1962)
    drawn = []
    for _ in range(count):
        layers = int(rng.integers(1, 3))
        drawn.append(
            Configuration(
                units=tuple(int(u) for u in rng.choice([32, 64], layers)),
                unroll_length=int(rng.choice([25, 50])),
                learning_rate=float(10 ** rng.uniform(-4, -2)),
                dropout=float(rng.uniform(0, 0.5)),
            )
        )
    return drawn
