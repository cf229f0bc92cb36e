"""Names that become rows, folders and addresses: whatever the text, it is plain or refused."""

import os
import unicodedata
from pathlib import Path

import optuna
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from optuna.storages import InMemoryStorage

from foretune.datasets import PriceSeries
from foretune.datasets.common.errors import ConfigError
from foretune.search import run_study
from foretune.search.storage.artifacts import artifact_names, load_artifact, save_artifacts

HOSTILE = [
    *("", " ", ".", "..", "...", "/", "\\", "../a", "a/../../b", "/etc/passwd", "C:\\a", "C:a"),
    *("a\0b", "a\nb", "a\rb", "a\tb", "a\x1b[2Jb", "a\x7f", "a\u2028b", "a\u202eb", "\ufeffa"),
    *("\ud800", "a\udcff", "~", "~/a", "-rf", "--help", "$(id)", "`id`", "a;b", "a|b", "a&b"),
    *("a*", "a?", "a%2e%2e%2fb", "%00", "file:///a", "\\\\host\\share", "a" * 201, "é" * 101),
    *("语" * 67, "CON", "nul.txt", "a:b", "<b>", "[red]", "{0}", "a'b", 'a"b', "a ", "a.", "🙂"),
]

odd_names = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(max_size=12),
    st.text(st.sampled_from("ab./\\:~- \0\n\u202e\ud800é"), max_size=8),
    st.builds("".join, st.lists(st.sampled_from(HOSTILE), max_size=3)),
    st.builds(
        lambda letter, count: letter * count, st.sampled_from("aé语🙂"), st.integers(40, 260)
    ),
)


def is_one_plain_line(message: str) -> bool:
    return message.isprintable() and len(message) < 2000


def lies_directly_in(folder: Path, name: str) -> bool:
    """Whether a file of this name can be made in a folder, and nowhere else."""
    path = folder / name
    path.write_bytes(b"x")
    found = os.listdir(folder)
    path.unlink()
    return [unicodedata.normalize("NFC", file) for file in found] == [
        unicodedata.normalize("NFC", name)
    ]


@given(name=odd_names)
@example(name="a" * 200)
def test_an_artifact_has_a_name_that_a_file_can_have_or_is_refused(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    storage = InMemoryStorage()
    study = optuna.create_study(storage=storage)
    refusal = ""
    try:
        save_artifacts(storage, study, {name: b"content"})
    except ConfigError as error:
        refusal = str(error)
    if refusal:
        assert refusal.startswith("filename must be a plain name")
        assert is_one_plain_line(refusal)
        assert artifact_names(storage, study) == []
        return
    assert artifact_names(storage, study) == [name]
    assert load_artifact(storage, study, name) == b"content"
    assert name.isprintable()
    assert len(name.encode()) <= 200
    assert not set(name) & set("/\\:")
    assert lies_directly_in(tmp_path_factory.mktemp("artifacts"), name)


@given(name=odd_names)
def test_no_artifact_is_looked_for_outside_the_study(name: str) -> None:
    storage = InMemoryStorage()
    study = optuna.create_study(storage=storage)
    with pytest.raises(ConfigError) as refusal:
        load_artifact(storage, study, name)
    assert is_one_plain_line(str(refusal.value))


@given(name=odd_names)
@example(name="a" * 200)
@example(name="S&P 500")
@example(name="größe_1.0 =+-")
def test_a_study_has_a_name_that_a_folder_can_have_or_is_refused(
    name: str, walk: PriceSeries, tmp_path_factory: pytest.TempPathFactory
) -> None:
    storage = InMemoryStorage()
    with pytest.raises(ConfigError) as refusal:
        # No study has 0 trials, so this ends at the latest where the name has passed.
        run_study(name, walk, n_trials=0, storage=storage, target="mid", workers=1)
    assert is_one_plain_line(str(refusal.value))
    assert optuna.get_all_study_names(storage=storage) == []
    if str(refusal.value).startswith("study name must be"):
        return
    assert str(refusal.value).startswith("n_trials must be")
    assert name.isprintable()
    assert len(name.encode()) <= 200
    assert name[0].isalnum() or name[0] == "_"
    assert not set(name) & set("/\\:*?\"<>|'$`;&~#%{}[]()!")
    assert lies_directly_in(tmp_path_factory.mktemp("studies"), name)


@pytest.mark.parametrize(
    "name", ["quickstart", "sp500 2015", "a=1", "größe", "日経225", "v1.0+x-y"]
)
def test_an_ordinary_name_will_do(name: str, walk: PriceSeries) -> None:
    with pytest.raises(ConfigError, match="n_trials must be"):
        run_study(name, walk, n_trials=0, storage=InMemoryStorage(), target="mid", workers=1)


# A name that only Windows cannot have is allowed.
ON_WINDOWS = {"CON", "nul.txt", "a ", "a."}


@pytest.mark.parametrize("name", [name for name in HOSTILE if name not in ON_WINDOWS])
def test_a_hostile_name_will_not(name: str, walk: PriceSeries) -> None:
    with pytest.raises(ConfigError, match="study name must be"):
        run_study(name, walk, n_trials=0, storage=InMemoryStorage(), target="mid", workers=1)
