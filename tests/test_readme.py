"""README and docs: short, runnable, and nothing that they point at is missing."""

import ast
import re
from pathlib import Path

import pytest
from printed_output import assert_same_output, output_script

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FACADES = {"foretune.datasets", "foretune.models", "foretune.search"}

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def code_blocks(page: Path, kind: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def test_the_readme_is_short() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.split()) <= 1200
    (script,) = code_blocks(README, "python")
    assert len(script.splitlines()) <= 10


@every_page
def test_python_compiles_and_imports_from_the_facades_alone(page: Path) -> None:
    for code in code_blocks(page, "python"):
        tree = ast.parse(code)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("foretune"):
                assert node.module in FACADES
            elif isinstance(node, ast.Import):
                assert not any(name.name.startswith("foretune") for name in node.names)


@every_page
def test_every_fence_and_link_is_whole(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "@@" not in text
    assert len(re.findall(r"^```", text, re.MULTILINE)) % 2 == 0
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)]+)\)", prose):
        if re.match(r"https?://", target):
            continue
        path, _, heading = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {
                re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings
            }


@every_page
def test_every_file_of_the_project_that_is_named_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:datasets|models|search|studies|tests|docs)/[\w./-]*)`", text)
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_guide_is_listed_in_readme_and_index() -> None:
    guides = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}
    for page, folder in ((README, "docs/"), (ROOT / "docs/index.md", "")):
        listed = re.findall(rf"^- .*?\({folder}([\w-]+\.md)\)", page.read_text(), re.MULTILINE)
        assert set(listed) >= guides


def test_pictures_are_shown_and_are_small_and_say_what_they_show() -> None:
    shown = set()
    for page in PAGES:
        for words, path in re.findall(r"!\[(.*)\]\((.*)\)", page.read_text(encoding="utf-8")):
            file = (page.parent / path).resolve()
            assert len(words) > 40
            assert file.stat().st_size < 150_000
            shown.add(file)
    assert shown == set((ROOT / "studies/images").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [README, *(ROOT / "docs" / name for name in ("your-own-data.md", "panels.md", "any-study.md"))],
    ids=lambda page: page.name,
)
def test_the_output_of_a_page_is_what_its_code_prints(page: Path, tmp_path: Path) -> None:
    script, text = output_script(), page.read_text(encoding="utf-8")
    blocks = [*script.BLOCK.finditer(text)]
    for block, ran in zip(blocks, script.run(text, tmp_path), strict=True):
        if block["output"] is not None:
            assert_same_output(block["output"], ran)
