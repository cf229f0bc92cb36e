"""The data of a study: kept with it in two objects, the second of which is the sealed test.

The first object has the rows that trials may see, and the second all others. It is read where the
test is opened, and by ``foretune fit``, which knows them as history once all training is done.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import optuna
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.storages import InMemoryStorage, RDBStorage

from foretune.datasets.common.errors import ConfigError, DataError, ForetuneError
from foretune.datasets.sources.load import NOT_FROM_A_FILE, Reading
from foretune.search.storage.artifact_store import data_store
from foretune.search.storage.optuna_internals import STUDY_UUID, behind_cache, storage_of, study_id
from foretune.search.study.spec import StudySpec, format_data, required_spec

if TYPE_CHECKING:  # pandas is half of what a command that only reads a study would wait for
    import pandas as pd

    from foretune.datasets.panel import Panel
    from foretune.datasets.series import TimeSeries

MOST_BYTES = 16 * 2**20

# The attribute of a study, which no page shows, that names the file of data that are not with it.
_FILE = "foretune:data_file"


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class StudyData:
    """What is known of a study's data before the test is opened, and the way to all of it.

    Args:
        development: the rows that trials may see.
        time: of all rows [N].
        digest: of all rows, as in the study's spec.
        whole: reads all rows; of data that the study holds, it is what unseals them.
        is_held: whether they come from the study itself.
        remarks: what reading left out, filled or decided, where something was read.
    """

    development: "TimeSeries | Panel"
    time: "pd.Index"
    digest: str
    whole: "Callable[[], TimeSeries | Panel]"
    is_held: bool = False
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(cls, series: "TimeSeries | Panel", spec: StudySpec) -> Self:
        """Return ``series``, data of a study that have been read."""
        stop = spec.whole_split.validation_stop
        return cls(
            development=series.before(stop),
            time=series.time,
            digest=series.digest,
            whole=lambda: series,
            remarks=series.remarks,
        )

    @property
    def source(self) -> str:
        """Where they came from: a sample's or a file's name."""
        return self.development.source

    @property
    def in_words(self) -> str:
        """Which data these are, as :attr:`PricesSpec.in_words` has it."""
        from foretune.datasets.history import moment

        target, last = self.development.target_name, str(moment(self.time, -1))
        return format_data(target, len(self.time), last, self.digest)


def study_data(study: optuna.Study, where: Any = None, **reading: Any) -> StudyData:
    """Return the data of ``study``.

    Args:
        study: a study of :func:`run_study`.
        where: as for :func:`as_series`, or data of the study; None for those that it holds, or else
            for where it knows them to be: a sample, a simulation, a download, or a file.
        **reading: in place of how the study read them, as for :func:`as_series`.

    Raises:
        ConfigError: foretune did not make the study, or these are other data.
        DataError: there are none, or what the study holds is damaged.
    """
    spec = required_spec(study)
    known = spec.prices
    as_before = Reading(**known.reading | {"target": known.target_key}).given()
    asked = Reading(**reading).given()
    reading = {name: value for name, value in asked.items() if as_before.get(name) != value}
    remedy = ""
    if isinstance(where, StudyData):
        data = where
    elif where is not None:
        data = StudyData.of(known.series(where, **reading), spec)
    elif not reading and (held := held_data(study)) is not None:
        return held
    else:
        series = known.load(study.study_name, _file_of(study), **reading)
        data = StudyData.of(series, spec)
        remedy = f" in {series.file or series.source}; give the study's as --data"
    if data.digest != known.digest:
        raise ConfigError(
            f"{known.what} must be those of study {study.study_name!r}, {known.in_words}, but got "
            f"{data.in_words}{remedy}"
        )
    return data


def hold_data(study: optuna.Study, data: StudyData) -> str:
    """Keep ``data`` with ``study``, unless it may not hold them, or they are too large.

    Those that were given again take the place of what the study holds, which may be damaged.

    Returns:
        In words, where its commands have them from.
    """
    from foretune.datasets.series_bytes import encode_series

    if data.is_held:
        return "the study holds them"
    spec, storage = required_spec(study), storage_of(study)
    series, reason = data.whole(), "not stored with the study"
    if spec.store_data:
        contents = encode_series(series, spec.whole_split.validation_stop)
        size = sum(map(len, contents))
        if size <= MOST_BYTES:
            data_store(storage).write_all(dict(zip(_ids(study), contents, strict=True)))
            if isinstance(behind_cache(storage), RDBStorage | InMemoryStorage):
                return f"stored with the study, {size / 2**10:,.0f} KiB"
            # For as long as this process: the study may live longer, in a journal's file.
            reason = f"not stored with the study, because {type(storage).__name__} has no tables"
        else:
            reason = (
                f"not stored with the study, because {size / 2**20:.1f} MiB are more than "
                f"{MOST_BYTES // 2**20}"
            )
    if series.file is not None:
        storage.set_study_system_attr(study_id(study), _FILE, series.file)
    if series.source == NOT_FROM_A_FILE:
        return f"{reason}: its commands need them again, as --data"
    return f"{reason}: its commands read {series.file or series.source} again"


def held_data(study: optuna.Study) -> StudyData | None:
    """Return the data that ``study`` holds; None where it holds none.

    Raises:
        DataError: they are damaged.
    """
    from foretune.datasets.series_bytes import decode_first, decode_series

    spec, store = required_spec(study), data_store(storage_of(study))
    first, rest = _ids(study)
    with _errors_naming(study, "training and validation part"):
        try:
            content = store.open_reader(first).read()
        except ArtifactNotFound:
            return None
        development, time = decode_first(content)
        if (len(time), len(development)) != (spec.prices.days, spec.whole_split.validation_stop):
            raise DataError(f"it has {len(development)} rows of {len(time)}")

    def whole() -> "TimeSeries | Panel":
        with _errors_naming(study, "test part"):
            try:
                sealed = store.open_reader(rest).read()
            except ArtifactNotFound:
                raise DataError("it is not in the storage") from None
            series = decode_series(content, sealed)
            if series.digest != spec.prices.digest:
                raise DataError(
                    f"with it the digest is {series.digest[:12]}, and not {spec.prices.digest[:12]}"
                )
        return series

    return StudyData(
        development=development, time=time, digest=spec.prices.digest, whole=whole, is_held=True
    )


def _ids(study: optuna.Study) -> tuple[str, str]:
    """Return the ids of the two objects of ``study``, which a copy of it in its storage shares."""
    uuid = storage_of(study).get_study_system_attrs(study_id(study)).get(STUDY_UUID)
    return f"{uuid}/development", f"{uuid}/test"


def _file_of(study: optuna.Study) -> str | None:
    file = storage_of(study).get_study_system_attrs(study_id(study)).get(_FILE)
    return file if isinstance(file, str) else None


@contextmanager
def _errors_naming(study: optuna.Study, part: str) -> Iterator[None]:
    """Say of what is damaged whose it is, and what to do."""
    try:
        yield
    except ForetuneError as error:
        raise DataError(
            f"the {part} of the data of study {study.study_name!r} is damaged in the storage: "
            f"{error}; give the data as --data"
        ) from None
