"""Runs the code of a page and writes what it prints into the page.

    python docs/make_output.py [PAGE ...]

The ``python`` and ``sh`` blocks of a page are run from top to bottom in one temporary folder. Where
a ``text`` block follows one of them directly, its content is replaced by what the block wrote to
stdout. Other blocks (``bash``, ``toml``, ...) are left alone.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = (
    "README.md",
    "docs/your-own-data.md",
    "docs/panels.md",
    "docs/reuse.md",
    "docs/any-study.md",
)

BLOCK = re.compile(
    r"^```(?P<kind>python|sh)\n(?P<code>.*?)^```\n(?:\n^```text\n(?P<output>.*?)^```\n)?",
    re.DOTALL | re.MULTILINE,
)


def run(text: str, folder: Path) -> list[str]:
    """Run the blocks of a page in ``folder`` and return what each wrote to stdout.

    Raises:
        subprocess.CalledProcessError: a block has failed; its stderr has been printed.
    """
    commands = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    # The numbers of programs that are compiled depend on what the cache holds, so it starts empty.
    environment = os.environ | {
        "PATH": commands,
        "COLUMNS": "80",
        "FORETUNE_CACHE_DIR": str(folder / "cache"),
    }
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    environment.pop("FORETUNE_STORAGE", None)
    written = []
    for block in BLOCK.finditer(text):
        shell = {"python": [sys.executable, "-c"], "sh": ["sh", "-e", "-c"]}[block["kind"]]
        done = subprocess.run(
            [*shell, block["code"]], cwd=folder, env=environment, capture_output=True, text=True
        )
        if done.returncode:
            print(done.stderr, file=sys.stderr)
        done.check_returncode()
        written.append("".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines()))
    return written


def with_output(text: str, written: list[str]) -> str:
    """Return the page with ``written`` in the output blocks that follow its code."""
    outputs = iter(written)

    def replaced(block: re.Match[str]) -> str:
        output = next(outputs)
        if block["output"] is None:
            return block[0]
        start, stop = (place - block.start() for place in block.span("output"))
        return block[0][:start] + output + block[0][stop:]

    return BLOCK.sub(replaced, text)


def main() -> None:
    """Write the output of the pages named, or of all."""
    for name in sys.argv[1:] or PAGES:
        page = ROOT / name
        text = page.read_text(encoding="utf-8")
        with tempfile.TemporaryDirectory() as folder:
            page.write_text(with_output(text, run(text, Path(folder))), encoding="utf-8")
        print(f"wrote {name}")


if __name__ == "__main__":
    main()
