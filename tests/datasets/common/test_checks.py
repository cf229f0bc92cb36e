from typing import Any

import numpy as np
import pytest

from foretune.datasets.common.checks import require_whole_number
from foretune.datasets.common.errors import ConfigError, DataError


@pytest.mark.parametrize("value", [1, 3, np.int64(2), np.uint8(3)])
def test_whole_numbers_pass(value: Any) -> None:
    require_whole_number("folds", value, most=3)


@pytest.mark.parametrize("value", [0, -1, 4, 2.0, True, np.True_, "2", None, float("nan"), [1]])
def test_what_is_none_is_one_line(value: Any) -> None:
    with pytest.raises(ConfigError) as refusal:
        require_whole_number("folds", value, most=3)
    assert str(refusal.value) == f"folds must be a whole number from 1 to 3, but got {value!r}"
    with pytest.raises(DataError, match=r"^folds must be a whole number of at least 5, but got "):
        require_whole_number("folds", value, 5, error=DataError)
