"""Which packages compute, in which version: a document keeps them."""

from importlib.metadata import version

_COMPUTING = ("foretune", "jax", "flax", "optax", "numpy")


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of what computes, and of further ``packages``."""
    return {name: version(name) for name in (*_COMPUTING, *packages)}
