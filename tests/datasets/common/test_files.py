import os
from pathlib import Path

import pytest

from foretune.datasets.common.errors import ConfigError
from foretune.datasets.common.files import require_file_place, write_atomically


def test_a_link_keeps_being_one(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("before")
    (tmp_path / "link.txt").symlink_to("real.txt")
    write_atomically(tmp_path / "link.txt", "after")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "after"


def test_what_is_no_file_is_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(ConfigError, match=f"{name} cannot be written: .* regular file"):
            write_atomically(tmp_path / name, "text")
    assert (tmp_path / "pipe").is_fifo()


def test_a_place_is_judged_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "lost").symlink_to("nowhere/file")
    for name, why in (
        ("folder", "regular file"),
        ("loop", "[Ll]ink|levels of symbolic links"),
        ("lost", "nowhere is not a folder"),
        ("none/file", "none is not a folder"),
    ):
        with pytest.raises(ConfigError, match=f"{name} cannot be written: .*({why})"):
            require_file_place(tmp_path / name)
    assert require_file_place(tmp_path / "new") == tmp_path / "new"
    assert not (tmp_path / "new").exists()


def test_a_writer_s_own_mistake_is_not_the_user_s(tmp_path: Path) -> None:
    def broken(_: Path) -> None:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        write_atomically(tmp_path / "file", broken)
    assert list(tmp_path.iterdir()) == []
