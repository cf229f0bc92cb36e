"""Every field of every document, with each value that it must not have.

The refusal names the file and the field. Which values a field must refuse follows from what a
valid document has there.
"""

import copy
import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import pytest
import tomli_w

NAN, INF = float("nan"), float("inf")
DAY = date(2020, 1, 2)

NO_TEXT = [-3, 0.5, True, [], ["x"], {}, {"__class__": "str"}, DAY, NAN]
NO_NUMBER = ["1", "", "../1", "${HOME}", "__import__('os')", True, {"a": 1}, NAN, INF, -INF, DAY]
NO_NUMBER += [time(1, 2), datetime(2020, 1, 2, tzinfo=UTC), [[1]], ["1"], [NAN], {"low": 1}]
NO_NUMBER += [{"low": "a", "high": "b"}, {"low": 9, "high": 1}, {"low": NAN, "high": 1.0}, {}]
NO_WHOLE = [*NO_NUMBER, 1.5, 1e300, 2**63 - 1, -(2**63), [], -1]
NO_NAME = ["", "LSTM", "lstm ", "lstm\n", "../lstm", "/usr/lib/lstm.so", "lstm\0", "os.system"]
NO_NAME += ["<b>lstm</b>", "\u202emtsl", "x" * 10_000]

# Texts that are free: names and versions. What they say is not for a reader to judge.
FREE = ("study", "name", "source", "versions", "target", "time")
SIGNED = {"scaling.log_returns.mean"}
# Numbers that are only shown, or compared with what the arrays hold; `true` is 1 to a literal.
ANY_COUNT = {"training.epochs", "history.days", "weights.parameters"}
LITERAL = {"format"}


def leaves(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every field of a document, by its dotted path."""
    for name, value in table.items():
        if isinstance(value, dict) and "low" not in value:
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def hostile(path: str, value: Any) -> list[Any]:
    """What must be refused where ``value`` stands."""
    free = any(part in FREE for part in path.split("."))
    if isinstance(value, bool):
        return ["true", 1, 0.0, [], {}, DAY]
    if isinstance(value, int):
        most = 2**63 - 1 if path in ANY_COUNT else None
        return [bad for bad in NO_WHOLE if bad != most and not (bad is True and path in LITERAL)]
    if isinstance(value, float):
        return [*NO_NUMBER, [], *([] if path in SIGNED else [-1.0, -1e300])]
    if isinstance(value, str):
        return [*NO_TEXT, *([] if free else NO_NAME)]
    if isinstance(value, date):
        return ["2020-01-02", 20200102, True, [], {}, "../x", datetime(2020, 1, 2, 3, tzinfo=UTC)]
    if isinstance(value, list):
        return ["x", {}, [], ["a", "b"], [[]], [True, False], [NAN, NAN], [-1, -1]]
    return ["x", {}, [], {"low": 1}, {"low": 1, "high": 0}, {"low": 1, "high": 4, "step": 2}]


def with_value(table: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of a document with another value at a dotted path."""
    table = copy.deepcopy(table)
    *above, last = path.split(".")
    inner = table
    for name in above:
        inner = inner[name]
    inner[last] = value
    return table


def cases(table: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Fields and what they must not be; tables that something else stands for; unknown keys."""
    found = [(path, bad) for path, value in leaves(table) for bad in hostile(path, value)]
    tables = [name for name, value in table.items() if isinstance(value, dict)]
    found += [(name, bad) for name in tables for bad in ("x", [], [{}], DAY, True)]
    inside = [f"{name}." for name in tables if name not in ("versions", "units")]
    for place in (prefix, *inside):
        found += [(f"{place}{key}", bad) for key in ("__class__", "lr") for bad in (1, {"a": 1})]
    return found


@pytest.mark.parametrize("kind", ["config", "space", "best", "forecaster"])
def test_every_field_refuses_what_it_must_not_be(
    kind: str, kinds: dict[str, Any], refused: Callable[..., str], tmp_path: Path
) -> None:
    document, path, failures = kinds[kind], tmp_path / "bad.toml", []
    path.write_text(document.text)
    document.load(path)
    every = cases(document.table, document.prefix)
    for field, value in every:
        path.write_text(tomli_w.dumps(with_value(document.table, field, value)))
        try:
            message = refused(document.load, path)
            assert field.removeprefix(document.prefix) in message, message
        except Exception as error:
            failures.append(f"{field} = {value!r}: {type(error).__name__}: {error}")
    assert not failures, f"{len(failures)} of {len(every)}: " + "\n".join(failures[:20])
    assert len(every) >= 300


def is_json(value: Any) -> bool:
    try:
        json.dumps(value)
    except TypeError:
        return False
    return True


def test_every_field_of_a_stored_spec_refuses_what_it_must_not_be(
    spec_table: dict[str, Any],
    load_spec: Callable[[Path], object],
    refused: Callable[..., str],
    tmp_path: Path,
) -> None:
    path, failures = tmp_path / "bad.json", []
    path.write_text(json.dumps(spec_table))
    load_spec(path)
    free = {f"prices.{name}" for name in ("digest", "first_date", "last_date")}
    every = [
        (field, value)
        for field, value in cases(spec_table)
        if is_json(value) and not (field in free and isinstance(value, str))
    ]
    for field, value in every:
        path.write_text(json.dumps(with_value(spec_table, field, value)))
        try:
            # What TrialConfig refuses of a space, it knows by its own name.
            assert field.removeprefix("space.") in refused(load_spec, path)
        except Exception as error:
            failures.append(f"{field} = {value!r}: {type(error).__name__}: {error}")
    assert not failures, f"{len(failures)} of {len(every)}: " + "\n".join(failures[:20])
    assert len(every) >= 300
