"""Prices by one word: a sample, a file, or a download."""

from pathlib import Path

from foretune.datasets.common.errors import ConfigError, DataError
from foretune.datasets.prices import PriceSeries
from foretune.datasets.sources.alpha_vantage import PREFIX, download_prices
from foretune.datasets.sources.readers import read_prices
from foretune.datasets.sources.samples import SAMPLES, load_sample, load_simulated


def load_prices(where: str) -> PriceSeries:
    """Load prices from where a ``--data`` option says.

    Args:
        where: a sample's name, a simulation such as ``ar1(length=4000, seed=3)``,
            ``alphavantage:SYMBOL``, or the path of a CSV file.

    Raises:
        DataError: there are no such prices; says why.

    Example:
        >>> load_prices("sp500")
        PriceSeries('sp500', 13594 rows, 1962-01-02 to 2015-12-31)
    """
    if where in SAMPLES:
        return load_sample(where)
    if is_download(where):
        # A free key gets 100 days, too few for any split; `full` needs a paid one.
        return download_prices(where.removeprefix(PREFIX), outputsize="full")
    simulated = load_simulated(where)
    return read_prices(where) if simulated is None else simulated


def is_download(where: str) -> bool:
    """Whether prices are downloaded."""
    return where.startswith(PREFIX)


def load_prices_of(study: str, source: str) -> PriceSeries:
    """Load the prices of a study from where it knows them to be.

    Args:
        study: its name.
        source: a sample, a simulation, a download, or a file of that name in this folder.

    Raises:
        ConfigError: ``source`` is no such name.
        DataError: there are no prices; says how to name others.
    """
    try:
        return load_prices(require_name(source))
    except DataError as error:
        raise DataError(
            f"the prices of study {study!r} must be given, as --data: {error}"
        ) from None


def require_name(source: str) -> str:
    r"""Refuse a path where a document names its prices.

    The document may come from someone else.

    Raises:
        ConfigError: ``source`` has a / or a \\ in it.

    Example:
        >>> require_name("acme.csv")
        'acme.csv'
    """
    if Path(source).name != source or "\\" in source:
        raise ConfigError(
            "prices.source must be a name and not a path, because the document may come from "
            f"someone else, but got {source!r}; give --data"
        )
    return source
