"""The README: its script, its pictures."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_launch_script_is_short_and_valid() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    script = text.split("## Launch a study")[1].split("```python\n")[1].split("```")[0]
    assert len(script.splitlines()) < 15
    compile(script, "README.md", "exec")


def test_no_placeholder_is_left() -> None:
    assert "@@" not in (ROOT / "README.md").read_text(encoding="utf-8")


def test_pictures_are_there_and_are_small_and_say_what_they_show() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[(.*)\]\((.*)\)", text)
    assert {ROOT / path for _, path in pictures} == set((ROOT / "studies/images").iterdir())
    for words, path in pictures:
        assert len(words) > 40
        assert (ROOT / path).stat().st_size < 150_000
