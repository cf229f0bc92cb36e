"""Numbers as people write them; a column that can be read in two ways is never guessed."""

import contextlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretune.datasets.common.errors import ConfigError, DataError
from foretune.datasets.sources import values
from foretune.datasets.sources.text_table import Table
from foretune.datasets.sources.values import mostly_numbers, to_numbers


def table_of(*columns: list[str], separator: str = ",") -> Table:
    cells = np.array(list(zip(*columns, strict=True)), dtype=object)
    names = tuple("abcdef"[: len(columns)])
    return Table("f.csv", names, cells, np.arange(len(cells)) + 2, separator)


nan = np.nan
READ = {
    "plain": (
        ["1", "-2.5", "+3", ".5", "5.", "1e3", "-1.5E-2"],
        [1, -2.5, 3, 0.5, 5, 1000, -0.015],
    ),
    "dollars": (["$1,234.50", "-$2.00", "$-3.00", "($4.00)"], [1234.5, -2, -3, -4]),
    "euros": (["1.234,50 €", "2,00 €", "-3,5 €"], [1234.5, 2, -3.5]),
    "currencies by name": (["USD 1,234.50", "5.25 USD"], [1234.5, 5.25]),
    "two thousands": (["7,380,500", "980,500"], [7380500, 980500]),
    "two thousands with dots": (["7.380.500", "980.500"], [7380500, 980500]),
    "thousands by blanks": (
        ["1 234,5", "1\u202f234\u202f567,25", "1\u00a0000"],
        [1234.5, 1234567.25, 1000],
    ),
    "thousands by apostrophes": (["1'234.5", "1\u2019234\u2019567"], [1234.5, 1234567]),
    "Indian thousands": (["12,34,567.89", "1,00,000"], [1234567.89, 100000]),
    "decimal comma": (["1,5", "2", "1.234,5"], [1.5, 2, 1234.5]),
    "a zero in front is no thousand": (["0.531", "30.531"], [0.531, 30.531]),
    "a zero in front is no thousand, with commas": (["0,531", "30,531"], [0.531, 30.531]),
    "letters": (
        ["1.2M", "266.16K", "1.5B", "2T", "3k", "7"],
        [1.2e6, 266160, 1.5e9, 2e12, 3000, 7],
    ),
    "letters with commas": (["1,23M", "266,16K"], [1.23e6, 266160]),
    "percent": (["5.2%", "-0.52 %", "0"], [5.2, -0.52, 0]),
    "missing": (["1", "", "-", "null", "N/A", "NaN", "None", ".", "#N/A", "?"], [1, *[nan] * 9]),
    "a true minus": (["\u22121.5"], [-1.5]),
    "accounting": (["(1.5)", "(1,234.50)", "2.5"], [-1.5, -1234.5, 2.5]),
}


@pytest.mark.parametrize("case", READ)
def test_reads(case: str) -> None:
    cells, expected = READ[case]
    values, remarks = to_numbers(table_of(cells), "a")
    np.testing.assert_array_equal(values, expected)
    assert remarks == ()
    assert mostly_numbers(table_of(cells), "a")


TWO_WAYS = ["1,234", "987"]


def test_both_readings_are_shown_and_the_option_is_named() -> None:
    with pytest.raises(DataError) as caught:
        to_numbers(table_of(TWO_WAYS), "a")
    assert str(caught.value) == (
        "f.csv, line 2, column 'a': '1,234' is 1234 or 1.234, and nothing in the file says which; "
        "give decimal='.' or decimal=',' (--decimal)"
    )
    assert to_numbers(table_of(TWO_WAYS), "a", decimal=".")[0].tolist() == [1234, 987]
    assert to_numbers(table_of(TWO_WAYS), "a", decimal=",")[0].tolist() == [1.234, 987]


@pytest.mark.parametrize(
    ("cells", "other", "separator", "expected"),
    [
        (TWO_WAYS, ["12.5", "7"], ",", 1234),
        (TWO_WAYS, ["-0,52%", "1,5"], ",", 1.234),
        (["1,234", "2,345"], ["x", "y"], ";", 1.234),
        (["1.234", "2.345"], ["1,5", "7"], ";", 1234),
        (["1.234", "2.345"], ["1,5", "7"], ",", 1234),
        (["1.234", "2.345"], ["x", "y"], ",", 1.234),
        (["1.234", "2.345"], ["x", "y"], "\t", 1.234),
    ],
)
def test_the_rest_of_the_file_decides(
    cells: list[str], other: list[str], separator: str, expected: float
) -> None:
    values, (remark,) = to_numbers(table_of(cells, other, separator=separator), "a")
    assert values[0] == expected
    assert "1234 or 1.234" in remark.replace("1.234 or 1234", "1234 or 1.234")


@pytest.mark.parametrize(
    ("cells", "other", "separator"),
    [
        (TWO_WAYS, ["x", "y"], ","),
        (TWO_WAYS, ["x", "y"], "\t"),
        (["1,234", "5.678"], ["x", "y"], ","),
        (["1.234", "2.345"], ["x", "y"], ";"),
        (["1,234", "987"], ["x", "y"], ";"),
        (["1.234", "987"], ["x", "y"], ","),
        (["1.234", "2.345"], ["01.02.2020", "02.02.2020"], ","),
    ],
)
def test_otherwise_it_asks(cells: list[str], other: list[str], separator: str) -> None:
    with pytest.raises(DataError, match=r"give decimal='\.' or decimal=','"):
        to_numbers(table_of(cells, other, separator=separator), "a")


def test_columns_that_contradict_each_other_decide_nothing() -> None:
    with pytest.raises(DataError, match="the other columns have both"):
        to_numbers(table_of(TWO_WAYS, ["1.5", "2.5"], ["1,5", "2,5"]), "a")


REFUSED = {
    "word": (
        ["1.5", "twelve"],
        "line 3, column 'a': must be a number with a decimal point, but got 'twelve'",
    ),
    "both conventions": (
        ["1.5", "2,5"],
        "line 3, column 'a': must be a number with a decimal point, but got '2,5', which has a "
        "decimal comma (decimal=',')",
    ),
    "underscore": (["1", "1_0"], "but got '1_0'"),
    "other digits": (["1", "१०"], "but got '१०'"),
    "infinity": (["1", "inf"], "but got 'inf'"),
    "overflow": (["1", "1e999"], "but got '1e999'"),
    "very long": (["1", "1" * 100_000], "..."),
    "groups of two": (["1", "1,23,4"], "but got '1,23,4'"),
    "a group of four": (["1.5", "1,2345.5"], "but got '1,2345.5'"),
    "two signs": (["1", "(-1)"], "but got '(-1)'"),
    "half a bracket": (["1", "(1"], "but got '(1'"),
    "grouped with an exponent": (["1.5", "1,234e3"], "but got '1,234e3'"),
    "small m": (["1", "5m"], "but got '5m'"),
    "unit": (["1", "5 km"], "but got '5 km'"),
    "two currencies": (
        ["$1", "5", "€2"],
        "line 4, column 'a': must be a number with $ like the ones above, but got '€2'",
    ),
    "percent and none": (
        ["1%", "5"],
        "line 3, column 'a': must be a number with % like the ones above, but got '5'",
    ),
    "percent late": (["5", "1%"], "line 3, column 'a': must be a number without %, but got '1%'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(case: str) -> None:
    cells, message = REFUSED[case]
    with pytest.raises(DataError) as caught:
        to_numbers(table_of(cells), "a")
    assert message in str(caught.value)
    assert str(caught.value).startswith("f.csv, line ")


def test_the_option_is_checked() -> None:
    with pytest.raises(ConfigError, match="decimal must be"):
        to_numbers(table_of(["1"]), "a", decimal=";")  # type: ignore[arg-type]


def test_text_is_no_number_column() -> None:
    assert not mostly_numbers(table_of(["a", "1"]), "a")
    assert not mostly_numbers(table_of(["", "-"]), "a")


@given(
    st.lists(st.floats(-1e6, 1e6).map(lambda x: round(x, 2)), min_size=1, max_size=20),
    st.booleans(),
)
def test_what_two_decimals_say_is_never_misread(numbers: list[float], comma: bool) -> None:
    """With two decimals a column says which convention it has, whatever else it holds."""
    cells = [f"{number:,.2f}" for number in numbers]
    if comma:
        cells = [cell.translate(str.maketrans(",.", ".,")) for cell in cells]
    assert to_numbers(table_of(cells), "a")[0].tolist() == numbers


@given(st.text(max_size=12))
def test_any_text_is_a_number_or_refused(text: str) -> None:
    with contextlib.suppress(DataError):
        values, _ = to_numbers(table_of([text]), "a")
        assert not np.isinf(values).any()


@given(
    st.lists(
        st.from_regex(r"[-+]?[0-9]{1,4}([.,][0-9]{0,4})?(e-?[0-9])?", fullmatch=True), min_size=1
    ),
    st.sampled_from([None, "."]),
)
def test_the_short_way_of_usual_columns_reads_the_same(cells: list[str], decimal: Any) -> None:
    table = table_of(cells)

    def outcome() -> Any:
        try:
            numbers, remarks = to_numbers(table, "a", decimal=decimal)
        except DataError as error:
            return str(error)
        return numbers.tolist(), remarks

    short = outcome()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(values, "_plain_numbers", lambda _: None)
        assert short == outcome()
