"""Prices in, arrays out; knows no model."""

from foretune.datasets.common.errors import ConfigError, DataError, ForetuneError
from foretune.datasets.prices import PriceSeries
from foretune.datasets.sources.alpha_vantage import download_prices
from foretune.datasets.sources.load import load_prices
from foretune.datasets.sources.readers import read_prices
from foretune.datasets.sources.samples import SAMPLES, load_sample
from foretune.datasets.splits import (
    Development,
    DevelopmentData,
    Split,
    chronological_split,
    development,
)

__all__ = [
    "SAMPLES",
    "ConfigError",
    "DataError",
    "Development",
    "DevelopmentData",
    "ForetuneError",
    "PriceSeries",
    "Split",
    "chronological_split",
    "development",
    "download_prices",
    "load_prices",
    "load_sample",
    "read_prices",
]
