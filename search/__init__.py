"""Many configs in, a reviewed study out. The façade of foretune.

What is exported stands in ``__init__.pyi``, and is imported when it is asked for: a command that
only reads a study does not wait for JAX.
"""

from typing import Any

import lazy_loader

_exported, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    import foretune.search.storage  # noqa: F401 - before anything else imports Optuna

    return _exported(name)
