"""A network's weights apart from its structure: the weights are data, the structure is compiled."""

from functools import lru_cache
from typing import Any

import jax
import numpy as np
from flax import nnx

from foretune.models.networks.stacked import Architecture, StackedRNN

Params = Any  # the nnx.State of a StackedRNN: a pytree of arrays


@lru_cache(maxsize=256)
def _graph(architecture: Architecture) -> Any:
    """Return the structure of the network, without its weights."""
    return nnx.split(StackedRNN(architecture, rng=np.random.default_rng(0)))[0]


def initial_params(architecture: Architecture, seed: int) -> Params:
    """Draw the weights of a network from ``seed``, on the host."""
    return nnx.split(StackedRNN(architecture, rng=np.random.default_rng(seed)))[1]


def network(architecture: Architecture, params: Params) -> StackedRNN:
    """Put ``params`` back into a network."""
    model: StackedRNN = nnx.merge(_graph(architecture), params)
    return model


def parameter_count(params: Params) -> int:
    """Return how many weights a network has."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
