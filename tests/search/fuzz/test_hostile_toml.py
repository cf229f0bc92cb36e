"""What is no TOML, or odd TOML, in the place of every document: one line, soon, nothing written."""

import gzip
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.font_manager  # noqa: F401 - writes a list of fonts into the home folder, once
import pytest

from foretune.search.cli.main import main

KINDS = ("config", "space", "best", "forecaster")

# In place of the whole file: what stands there, and what the line must say.
WHOLE: dict[str, tuple[str | bytes, str]] = {
    "CSV": ("Date,Open\n2020-01-02,1\n", "valid TOML"),
    "JSON": ('{"config": {"epochs": 3}}', "valid TOML"),
    "YAML": ("config:\n  epochs: !!python/object/apply:os.system [id]\n", "valid TOML"),
    "INI": ("[config]\nepochs: 3\n", "valid TOML"),
    "a web page": ("<html></html>", "valid TOML"),
    "Python": ("import os\nos.system('id')\n", "valid TOML"),
    "PNG": (b"\x89PNG\r\n\x1a\n\0\0", "readable text file"),
    "pickle": (pickle.dumps({"config": {"epochs": 3}}), "readable text file"),
    "gzip": (gzip.compress(b"[config]"), "readable text file"),
    "UTF-16": ("[config]\n".encode("utf-16"), "readable text file"),
    "Latin-1": (b"a = 'gr\xf6\xdfe'", "readable text file"),
    "half a letter": (b"a = '\xe2\x82'", "readable text file"),
    "a lone surrogate": (b"a = '\xed\xa0\x80'", "readable text file"),
    "NUL": ("a = 1\0", "valid TOML"),
    "NULs": (bytes(4096), "valid TOML"),
    "noise": (bytes(range(256)), "readable text file"),
    "carriage returns": ("[config]\repochs = 3\r", "valid TOML"),
    "deep arrays": ("a = " + "[" * 50_000, "valid TOML"),
    "deep tables": ("a = " + "{a = " * 50_000, "valid TOML"),
    "many open quotes": ('a = "' + '\\"' * 100_000, "valid TOML"),
}
# Before a valid document, so that all of it is at the top: what the line must say.
BEFORE: dict[str, tuple[str, str]] = {
    "a digit more than is counted": ("x = " + "9" * 5000, "valid TOML"),
    "a key twice": ("x = 1\nx = 2", "valid TOML"),
    "a key twice in other quotes": ("x = 1\n'x' = 2", "valid TOML"),
    "a table twice": ("[x]\n[x]", "valid TOML"),
    "a table where a number is": ("x = 1\n[x.y]", "valid TOML"),
    "an inline table that goes on": ("x = {a = 1}\nx.b = 2", "valid TOML"),
    "a control character": ("x = 'a\x1b[2Jb'", "valid TOML"),
    "an escape that is none": ('x = "\\q"', "valid TOML"),
    "an escaped surrogate": ('x = "\\ud800"', "valid TOML"),
    "a day that is none": ("x = 2020-02-30", "valid TOML"),
    "an hour that is none": ("x = 2020-01-02T25:00:00", "valid TOML"),
    "an unknown value": ("x = yes", "valid TOML"),
    "no value": ("x =", "valid TOML"),
    "no key": ("= 1", "valid TOML"),
    "a variable": ("x = $HOME", "valid TOML"),
    "a key with a colon": ("x: 1", "valid TOML"),
    "a number with a zero before it": ("x = 01", "valid TOML"),
    "Arabic digits": ("x = ٣", "valid TOML"),
    "curly quotes": ("x = “1”", "valid TOML"),
    "tables without an end": ("[[x]]\n" * 2000 + "[x", "valid TOML"),
}
# Keys that no document has, as TOML writes them, and as the line must show them.
KEYS: dict[str, str] = {
    '"__class__"': "'__class__'",
    '"__init__"': "'__init__'",
    '"__dict__"': "'__dict__'",
    '"__proto__"': "'__proto__'",
    '"__pydantic_fields__"': "'__pydantic_fields__'",
    '"model_config"': "'model_config'",
    '"model_fields"': "'model_fields'",
    '"self"': "'self'",
    '"include"': "'include'",
    '"extends"': "'extends'",
    '"$ref"': "'$ref'",
    '"<<"': "'<<'",
    '""': "''",
    '" "': "' '",
    '"a\\nb"': r"'a\nb'",
    '"a\\u0000b"': r"'a\x00b'",
    '"a\\u001b[31mb"': r"'a\x1b[31mb'",
    '"a\\u202eb"': r"'a\u202eb'",
    '"[bold red]a[/]"': "'[bold red]a[/]'",
    '"<script>alert(1)</script>"': "'<script>alert(1)</script>'",
    '"../../etc/passwd"': "'../../etc/passwd'",
    '"!!python/object:os.system"': "'!!python/object:os.system'",
    '"%s%n"': "'%s%n'",
    '"{0.__class__}"': "'{0.__class__}'",
    '"\u0435pochs"': "'\u0435pochs'",  # with a Cyrillic letter
    '"Epochs"': "'Epochs'",
    '"config.epochs"': "'config.epochs'",
    '"' + "x" * 50_000 + '"': "'xxxx",
}
VALUES = ("1", '"../../x"', "{a = 1}", "1979-05-27T07:32:00Z", "[[1], ['a']]")


def count_of_cases() -> int:
    return len(KINDS) * (len(WHOLE) + len(BEFORE) + len(KEYS) * len(VALUES))


def texts(document: Any) -> list[tuple[str, bytes, str]]:
    """The name of each case, its file, and what the line must say."""
    found = []
    for name, (given, rule) in WHOLE.items():
        found.append((name, given if isinstance(given, bytes) else given.encode(), rule))
    for name, (line, rule) in BEFORE.items():
        found.append((name, f"{line}\n{document.text}".encode(), rule))
    place = "[config]\n" if document.prefix else ""
    body = document.text.removeprefix(place)
    for key, shown in KEYS.items():
        for value in VALUES:
            text = f"{place}{key} = {value}\n{body}"
            found.append((f"{key[:20]} = {value}", text.encode(), f"unknown key {shown}"))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_odd_toml_is_refused_in_one_line(
    kind: str, kinds: dict[str, Any], refused: Callable[..., str], tmp_path: Path
) -> None:
    document, path, failures = kinds[kind], tmp_path / "bad.toml", []
    for name, content, rule in texts(document):
        path.write_bytes(content)
        try:
            message = refused(document.load, path)
            assert rule in message, message
        except Exception as error:
            failures.append(f"{name}: {type(error).__name__}: {error}"[:500])
    assert not failures, f"{len(failures)}: " + "\n".join(failures[:20])


def test_there_are_enough_cases() -> None:
    assert count_of_cases() >= 300


@pytest.mark.parametrize("kind", ["config", "space", "best"])
def test_what_is_no_file_is_refused_and_never_waited_for(
    kind: str, kinds: dict[str, Any], refused: Callable[..., str], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "tty").symlink_to("/dev/tty")
    (tmp_path / "memory").symlink_to("/proc/self/mem")
    (tmp_path / "endless").symlink_to("/proc/self/pagemap")
    for name in (
        "pipe",
        "loop",
        "zero",
        "tty",
        "memory",
        "endless",
        ".",
        "none",
        "a\0b",
        "n" * 300,
    ):
        refused(kinds[kind].load, tmp_path / name)


@pytest.mark.parametrize("what", ["pipe", "zero"])
def test_a_model_with_a_pipe_or_a_device_for_its_document_is_refused(
    what: str, kinds: dict[str, Any], refused: Callable[..., str], tmp_path: Path
) -> None:
    from foretune.models import Forecaster

    (tmp_path / "good.toml").write_text(kinds["forecaster"].text)
    kinds["forecaster"].load(tmp_path / "good.toml")
    file = tmp_path / "model" / "forecaster.toml"
    file.unlink()
    if what == "pipe":
        os.mkfifo(file)
    else:
        file.symlink_to("/dev/zero")
    message = refused(Forecaster.load, tmp_path / "model")
    assert "forecaster.toml: a forecaster must be a regular file" in message


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    """All that lies in a folder: permissions and content."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in folder.rglob("*")
    }


COMMANDS = {
    "space": ("run", "--prices", "prices.csv", "--study", "s", "--out", "out", "--space"),
    "config": ("run", "--prices", "prices.csv", "--study", "s", "--out", "out", "--start-from"),
    "best": ("fit", "--out", "out"),
}
PRICES = "Date,Open,High,Low,Close\n" + "".join(
    f"20{year:02}-{month:02}-{day:02},{2 + day},{4 + day},{1 + day},{3 + day}\n"
    for year in range(2)
    for month in range(1, 13)
    for day in range(1, 29)
)


@pytest.mark.parametrize("kind", COMMANDS)
def test_the_command_refuses_them_too_and_writes_nothing(
    kind: str,
    kinds: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    work = tmp_path / "home" / "work"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FORETUNE_CACHE_DIR", str(tmp_path / "cache"))
    (work / "prices.csv").write_text(PRICES)
    for name, content, rule in texts(kinds[kind])[::4]:
        (work / "bad.toml").write_bytes(content)
        before = tree(tmp_path)
        with pytest.raises(SystemExit) as ended:
            main([*COMMANDS[kind], "bad.toml"])
        out, err = capsys.readouterr()
        assert (ended.value.code, out) == (2, ""), name
        assert err.startswith("foretune: bad.toml: "), name
        assert rule in err, name
        assert err.count("\n") == 1, name
        assert err[:-1].isprintable(), name
        assert tree(tmp_path) == before, name
