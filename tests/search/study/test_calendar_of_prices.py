"""The season that is given of prices is the study's: later commands have it too."""

import pytest

from foretune.datasets import ConfigError, PriceSeries, as_series
from foretune.search import SearchSpace
from foretune.search.study.agreed import agreed_spec
from foretune.search.study.spec import StudySpec


def spec_of(prices: PriceSeries, space: SearchSpace, season: int | None) -> StudySpec:
    series = as_series(prices, seasonality=season) if season else as_series(prices)
    return agreed_spec(None, series, {"horizon": 5}, space=space, epochs=None, seed=None)[0]


def test_a_season_is_remembered_and_compared(walk: PriceSeries, tiny_space: SearchSpace) -> None:
    plain, seasonal = (spec_of(walk, tiny_space, season) for season in (None, 3))
    assert plain.series(walk).calendar.seasonality is None
    assert seasonal.series(walk).calendar.seasonality == 3
    seasonal.require_same(spec_of(walk, tiny_space, 3), "s")
    with pytest.raises(ConfigError, match=r"prices\.seasonality is 3 there, but got None"):
        seasonal.require_same(plain, "s")
