"""Gradient transformations, from optax, without their learning rate.

The learning rate is applied outside, as a traced scalar: a new one never compiles.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax

from foretune.models.config import OptimizerName

_RULES: dict[OptimizerName, Callable[[], Any]] = {
    "adam": optax.scale_by_adam,
    # Decoupled weight decay (Loshchilov & Hutter 2019), optax's default strength.
    "adamw": lambda: optax.chain(optax.scale_by_adam(), optax.add_decayed_weights(1e-4)),
    "rmsprop": optax.scale_by_rms,
    "sgd_momentum": lambda: optax.trace(decay=0.9),
}


def gradient_transformation(name: OptimizerName, clip_norm: float | jax.Array) -> Any:
    """Return ``name`` after clipping to the global norm ``clip_norm`` (may be traced)."""
    return optax.chain(optax.clip_by_global_norm(clip_norm), _RULES[name]())


def initial_optimizer_state(name: OptimizerName, params: Any) -> Any:
    """Return the transformation's first state on the host, without compiling anything.

    All of these rules start from zeros; a test compares with optax's own ``init``.
    """
    shapes = jax.eval_shape(gradient_transformation(name, 1.0).init, params)
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
