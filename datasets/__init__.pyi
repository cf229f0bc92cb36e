"""Series in, arrays out; knows no model."""

from .calendar import Calendar
from .common.errors import ConfigError, DataError, DataWarning, ForetuneError
from .panel import Panel
from .prices import PriceSeries
from .series import TimeSeries
from .sources.alpha_vantage import download_prices
from .sources.load import as_data, as_series, load_prices
from .sources.readers import read_panel, read_prices, read_series
from .sources.samples import SAMPLES, load_sample
from .splits import Development, DevelopmentData, Split, chronological_split, development

__all__ = [
    "SAMPLES",
    "Calendar",
    "ConfigError",
    "DataError",
    "DataWarning",
    "Development",
    "DevelopmentData",
    "ForetuneError",
    "Panel",
    "PriceSeries",
    "Split",
    "TimeSeries",
    "as_data",
    "as_series",
    "chronological_split",
    "development",
    "download_prices",
    "load_prices",
    "load_sample",
    "read_panel",
    "read_prices",
    "read_series",
]
