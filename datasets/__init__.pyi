"""Prices in, arrays out; knows no model."""

from .common.errors import ConfigError, DataError, ForetuneError
from .prices import PriceSeries
from .sources.alpha_vantage import download_prices
from .sources.load import load_prices
from .sources.readers import read_prices
from .sources.samples import SAMPLES, load_sample
from .splits import Development, DevelopmentData, Split, chronological_split, development

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
