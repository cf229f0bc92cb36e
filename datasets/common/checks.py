"""Checks of what a user gives that more than one function makes."""

from collections.abc import Iterable
from numbers import Integral
from typing import Any

from foretune.datasets.common.errors import ConfigError, ForetuneError


def require_whole_number(
    name: str,
    value: object,
    least: int = 1,
    most: int | None = None,
    *,
    error: type[ForetuneError] = ConfigError,
) -> None:
    """Refuse what is not a whole number, Python's or NumPy's, from ``least`` to ``most``.

    Args:
        name: of the parameter.
        value: what was given for it.
        least: the smallest number allowed.
        most: the largest; None where there is none.
        error: what is raised.

    Raises:
        ConfigError: names parameter, value and rule.

    Example:
        >>> require_whole_number("folds", 0)
        Traceback (most recent call last):
        ConfigError: folds must be a whole number of at least 1, but got 0
    """
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):  # type: ignore[operator]
        allowed = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise error(f"{name} must be a whole number {allowed}, but got {value!r}")


def as_names(names: Any) -> tuple[str, ...]:
    """Return names as text; one may stand alone, or they may be numbers, as the ids of stores are.

    Args:
        names: of columns or series: one, or any of NumPy's and pandas's lists of them; None for
            none.

    Example:
        >>> as_names(np.array([1, 2]))
        ('1', '2')
    """
    if names is None:
        return ()
    alone = isinstance(names, str) or not isinstance(names, Iterable)
    return tuple(str(name) for name in ([names] if alone else names))


def given_data(data: Any, prices: Any) -> Any:
    """Return ``data``, or ``prices`` as the keyword was first called.

    Raises:
        ConfigError: both are given, or none.
    """
    if (data is None) == (prices is None):
        given = "none" if data is None else "both"
        raise ConfigError(f"data must be given, or prices= as it was first called, but got {given}")
    return prices if data is None else data
