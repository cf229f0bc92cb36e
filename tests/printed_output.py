"""The output that a page shows beside what its code prints now."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent


def output_script() -> ModuleType:
    """docs/make_output.py, which is in no package."""
    spec = importlib.util.spec_from_file_location("make_output", ROOT / "docs/make_output.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def without_numbers(text: str) -> tuple[str, list[float]]:
    """The text with every number replaced and its blanks and lines evened out, and the numbers."""
    number = re.compile(r"\d+(?:\.\d+)?(?:e-?\d+)?")
    shape = re.sub(r"[-─━]+", "-", number.sub("#", text))
    return " ".join(shape.split()), [float(found) for found in number.findall(text)]


def assert_same_output(printed: str, ran: str) -> None:
    """Another CPU gives other last digits, so numbers may differ by a few per cent."""
    (shape, numbers), (ran_shape, ran_numbers) = without_numbers(printed), without_numbers(ran)
    assert ran_shape == shape
    assert ran_numbers == pytest.approx(numbers, rel=0.05, abs=0.02)
