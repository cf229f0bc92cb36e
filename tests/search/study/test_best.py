"""best.toml: complete, read back exactly, and every mistake in it one line that names the key."""

import copy
import dataclasses
import tomllib
from datetime import date, datetime
from pathlib import Path
from typing import Any

import optuna
import pytest
import tomli_w

from foretune.datasets import PriceSeries, load_sample
from foretune.datasets.common.errors import ConfigError, DataError
from foretune.datasets.sources import load
from foretune.models import TrialConfig
from foretune.models.runtime.versions import versions
from foretune.search import SearchSpace, save_best, write_results
from foretune.search.cli.main import main
from foretune.search.study.best_file import BestDocument
from foretune.search.study.spec import PricesSpec, SplitSpec, StudySpec, store_spec

CONFIG = TrialConfig(units=(4,), unroll_length=8, batch_size=8, epochs=3, steps_per_epoch=5)


def study_of(
    prices: PriceSeries | None, split: SplitSpec | None = None, config: TrialConfig = CONFIG
) -> optuna.Study:
    """A study with one complete trial that nobody trained; without prices, one without a spec."""
    study = optuna.create_study(study_name="s")
    if prices is not None:
        about = StudySpec(
            prices=PricesSpec.of(prices.series("mid")),
            split=split or SplitSpec(horizon=5),
            space=SearchSpace(unroll_length=8),
            seed=11,
            versions=versions("optuna"),
        )
        store_spec(study, about)
    trial = study.ask()
    trial.set_user_attr("config", config.to_toml())
    trial.set_user_attr("best_epoch", 2)
    study.tell(trial, 0.9375)
    return study


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.fixture(scope="module")
def written(walk: PriceSeries, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is written of a study on 500 days, 5 days ahead."""
    path = tmp_path_factory.mktemp("best") / "best.toml"
    save_best(study_of(walk), path)
    table: dict[str, Any] = tomllib.loads(path.read_text())
    return table


def test_everything_is_in_it_and_comes_back(
    written: dict[str, Any], walk: PriceSeries, tmp_path: Path
) -> None:
    assert set(written) == {"config", "result", "prices", "split", "parts", "seed", "versions"}
    assert written["result"] == {
        "study": "s",
        "trial": 0,
        "relative_mse": 0.9375,
        "best_epoch": 2,
    }
    assert written["prices"]["digest"] == walk.digest
    assert written["seed"] == 11
    assert written["split"]["horizon"] == 5
    assert written["versions"] == versions("optuna")
    # By hand: of 490 days outside two gaps of 5, 294 train and 98 validate.
    days = [walk.dates[day].item() for day in (0, 293, 299, 396, 402, 499)]
    assert written["parts"] == {
        "train": days[:2],
        "validation": days[2:4],
        "test": days[4:],
    }
    path = tmp_path / "best.toml"
    path.write_text(tomli_w.dumps(written))
    document = BestDocument.load(path)
    assert document.config == TrialConfig.load(path) == CONFIG
    assert tomllib.loads(document.to_toml()) == written
    split = document.split_of(walk)
    assert (split.train_stop, split.validation_start, split.validation_stop) == (294, 299, 397)


def test_of_several_folds_the_last_one_is_trained(walk: PriceSeries, tmp_path: Path) -> None:
    save_best(study_of(walk, SplitSpec(horizon=5, folds=3)), tmp_path / "best.toml")
    split = BestDocument.load(tmp_path / "best.toml").split_of(walk)
    # 98 validation days are three blocks of 32; the last one begins on day 397 - 32.
    assert (split.train_stop, split.validation_start, split.validation_stop) == (360, 365, 397)


@pytest.mark.parametrize("source", ["nowhere.csv", "/etc/passwd", "alphavantage:ABC", "typed in"])
def test_prices_that_are_not_at_hand_leave_out_the_days_alone(
    source: str, walk: PriceSeries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> PriceSeries:
        raise AssertionError("nothing may be downloaded")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(load, "download_prices", never)
    prices = dataclasses.replace(walk, source=source)
    save_best(study_of(prices), "best.toml")
    document = BestDocument.load("best.toml")
    assert document.parts is None
    assert document.split_of(walk).validation_stop == 397
    save_best(study_of(prices), "best.toml", prices=prices)
    assert BestDocument.load("best.toml").parts is not None
    with pytest.raises(ConfigError, match="prices must be those of study 's'"):
        save_best(study_of(prices), "best.toml", prices=load_sample("ar1", length=500))


def test_a_studys_results_name_its_days_wherever_its_prices_come_from(
    walk: PriceSeries, tmp_path: Path
) -> None:
    """They were given, so they need not be found again."""
    prices = dataclasses.replace(walk, source="typed in")
    (best, *_) = write_results(study_of(prices), prices, tmp_path / "out")
    parts = BestDocument.load(best).parts
    assert parts is not None
    assert parts.test[1] == walk.dates[-1].item()


def test_a_study_that_foretune_did_not_make_gives_its_config(tmp_path: Path) -> None:
    path = tmp_path / "best.toml"
    save_best(study_of(None), path)
    assert TrialConfig.load(path) == CONFIG
    with pytest.raises(ConfigError, match="prices is missing; split is missing"):
        BestDocument.load(path)


def test_the_studys_prices_or_a_line_that_says_which(
    written: dict[str, Any], walk: PriceSeries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def document(**prices: str) -> BestDocument:
        table = copy.deepcopy(written)
        table["prices"] |= prices
        Path("best.toml").write_text(tomli_w.dumps(table))
        return BestDocument.load("best.toml")

    assert document().load_prices().digest == walk.digest
    assert document().load_prices("ar1").name == "ar1"
    with pytest.raises(
        ConfigError, match=r"prices must be those of study 's' \(prices.digest 0000"
    ):
        document(digest="0" * 64).load_prices()
    assert document(digest="0" * 64).load_prices("ar1").name == "ar1"
    with pytest.raises(DataError, match=r"study 's' must be given, as --data: acme\.csv"):
        document(source="acme.csv").load_prices()
    for path in ("/etc/passwd", "../acme.csv", "a/b.csv", "..\\acme.csv"):
        with pytest.raises(ConfigError, match=r"prices\.source must be a name and not a path"):
            document(source=path).load_prices()


def test_parts_must_be_those_that_the_split_makes(written: dict[str, Any], tmp_path: Path) -> None:
    for part, place in (("train", 1), ("validation", 0), ("validation", 1), ("test", 0)):
        table = copy.deepcopy(written)
        day = table["parts"][part][place]
        table["parts"][part][place] = day.replace(day=day.day - 1 if day.day > 1 else 2)
        path = tmp_path / "best.toml"
        path.write_text(tomli_w.dumps(table))
        with pytest.raises(ConfigError, match=f"parts.{part} must be .* as the split makes it"):
            BestDocument.load(path).load_prices()
        with pytest.raises(ConfigError, match=f"parts.{part} must be .* as the split makes it"):
            BestDocument.load(path).load_prices("random_walk(length=500, seed=3)")


NAN, INF = float("nan"), float("inf")
GONE = object()

# Path of a key, what stands there instead, and what the line must say.
NOT_A_NUMBER = [
    f"config.{name}"
    for name in (
        "learning_rate",
        "dropout",
        "clip_norm",
        "smoothing",
        "decay_factor",
        "min_learning_rate",
    )
] + ["result.relative_mse", "split.train_fraction", "split.validation_fraction"]
NOT_WHOLE = [
    f"config.{name}"
    for name in (
        "pad_units_to",
        "unroll_length",
        "batch_size",
        "scaling_window",
        "label_offset",
        "epochs",
        "steps_per_epoch",
        "decay_patience",
        "stop_patience",
        "seed",
    )
] + [
    "result.trial",
    "result.best_epoch",
    "prices.days",
    "split.horizon",
    "split.stride",
    "split.folds",
    "seed",
]
TEXTS = [
    "config.cell",
    "config.optimizer",
    "config.scaling",
    "result.study",
    "prices.name",
    "prices.source",
    "prices.digest",
    "prices.first_date",
    "prices.last_date",
    "versions.jax",
]
TABLES = ["config", "result", "prices", "split", "parts", "versions"]
MISTAKES: list[tuple[str, Any, str]] = [
    *(
        (path, value, f"{path} must be a finite number")
        for path in NOT_A_NUMBER
        for value in (NAN, INF)
    ),
    *((path, "0.5", f"{path} must be a valid number") for path in NOT_A_NUMBER),
    *((path, -1, f"{path} must be greater than") for path in NOT_A_NUMBER),
    *(
        (path, value, f"{path} must be a valid integer")
        for path in NOT_WHOLE
        for value in (2.0, "2", True)
    ),
    *((path, -1, f"{path} must be greater than or equal to") for path in NOT_WHOLE),
    *((path, 3, f"{path} must be") for path in TEXTS),
    *((path, "../else/where", f"{path} must be 'l") for path in ("config.cell", "config.scaling")),
    ("config.optimizer", "/usr/lib/adam.so", "config.optimizer must be 'adam', 'adamw'"),
    ("prices.digest", "/etc/passwd", "prices.digest must match pattern"),
    ("prices.digest", "A" * 64, "prices.digest must match pattern"),
    (
        "prices.first_date",
        "2.1.1970",
        "prices.first_date must be a day written YYYY-MM-DD, a time or a whole number, but",
    ),
    ("prices.first_date", "", "prices.first_date must be a day written YYYY-MM-DD, a time or"),
    ("prices.first_date", "2000-02-30", "prices.first_date must be a day written YYYY-MM-DD"),
    ("prices.last_date", "20010102", "prices.last_date must be after 1970-01-02, but got 20010102"),
    (
        "parts.train",
        [datetime(1970, 1, 2, 3), date(1971, 2, 17)],
        "parts.train must be of the kind of",
    ),
    ("prices.last_date", "1960-01-01", "prices.last_date must be after 1970-01-02"),
    ("prices.source", "", "prices.source must have at least 1 character"),
    ("result.study", "", "result.study must have at least 1 character"),
    *((f"{path}.unknown", 1, f"unknown key '{path}.unknown'") for path in TABLES[:-1]),
    ("unknown", 1, "unknown key 'unknown'; allowed are config, result, prices"),
    *((path, 3, f"{path} must be a") for path in TABLES),
    *((path, GONE, f"{path} is missing") for path in (*TABLES[:4], "versions", "seed")),
    *((path, GONE, f"{path} is missing") for path in ("result.best_epoch", "prices.digest")),
    ("parts.test", GONE, "parts.test is missing"),
    ("config.units", [4, 0], "config.units.1 must be greater than or equal to 1"),
    ("config.units", [], "config.units must have at least 1 item"),
    ("config.units", 4, "config.units must be a valid tuple"),
    ("config.dropout", 1.0, "config.dropout must be less than 1"),
    ("config.learning_rate", 11.0, "config.learning_rate must be less than or equal to 10"),
    ("config.seed", 2**32, "config.seed must be less than"),
    ("seed", 2**32, "seed must be less than"),
    ("split.horizon", 0, "split.horizon must be greater than or equal to 1"),
    ("split.train_fraction", 1.0, "split.train_fraction must be less than 1"),
    (
        "split.train_fraction",
        0.9,
        "train_fraction and validation_fraction must be above 0 and leave",
    ),
    ("split.horizon", 200, "500 rows leave"),
    ("split.folds", 50, "98 validation rows leave 1 for each of 50 folds"),
    ("prices.days", 30, "30 rows leave"),
    ("config.unroll_length", 400, "an unroll of 400 rows needs at least 402"),
    ("config.epochs", 1, "result.best_epoch must be at most config.epochs, 1, but got 2"),
    ("result.best_epoch", 4, "result.best_epoch must be at most config.epochs, 3, but got 4"),
    ("parts.train", ["1970-01-02", "1971-02-17"], "parts.train.0 must be a valid date"),
    ("parts.train", [date(1970, 1, 2)], "parts.train.1 is missing"),
    ("parts.train", date(1970, 1, 2), "parts.train must be a valid tuple"),
    ("parts.train", [date(1970, 1, 5), date(1971, 2, 17)], "parts must lie one after another"),
    ("parts.validation", [date(1971, 5, 1), date(1971, 4, 1)], "parts must lie one after another"),
]


def with_mistake(table: dict[str, Any], path: str, value: Any) -> str:
    table = copy.deepcopy(table)
    *above, last = path.split(".")
    inner = table
    for name in above:
        inner = inner[name]
    inner[last] = value
    if value is GONE:
        del inner[last]
    return tomli_w.dumps(table)


def test_there_are_enough_mistakes() -> None:
    assert len(MISTAKES) >= 150


@pytest.mark.parametrize(
    ("path", "value", "message"),
    MISTAKES,
    ids=[f"{path}={'gone' if value is GONE else value}"[:40] for path, value, _ in MISTAKES],
)
def test_a_mistake_is_one_line_that_names_the_key(
    path: str,
    value: Any,
    message: str,
    written: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.toml").write_text(with_mistake(written, path, value))
    with pytest.raises(SystemExit) as ended:
        main(["fit", "bad.toml", "--out", "model"])
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("foretune: bad.toml: ")
    assert message in err
    assert err.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["bad.toml"]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    # Without those that are a matter of the result or the prices, of which a config knows nothing.
    [
        row
        for row in MISTAKES
        if row[0].startswith("config.")
        and not any(words in row[2] for words in ("result", "an unroll of"))
    ],
    ids=lambda value: str(value)[:30],
)
def test_the_config_alone_refuses_the_same(
    path: str, value: Any, message: str, written: dict[str, Any], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text(with_mistake(written, path, value))
    with pytest.raises(ConfigError) as refusal:
        TrialConfig.load(bad)
    assert message.replace("config.", "") in str(refusal.value)
    assert str(refusal.value).startswith(f"{bad}: ")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[config", b"a = 1\na = 2", None])
def test_what_is_no_document_is_one_line(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "best.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as refusal:
        BestDocument.load(path)
    assert str(refusal.value).startswith(f"{path}: ")
    assert "\n" not in str(refusal.value)


def test_a_path_from_a_document_is_never_opened(
    written: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> PriceSeries:
        raise AssertionError

    monkeypatch.setattr(load, "as_series", never)
    path = tmp_path / "best.toml"
    path.write_text(with_mistake(written, "prices.source", "/etc/passwd"))
    with pytest.raises(ConfigError, match=r"prices\.source"):
        BestDocument.load(path).load_prices()
