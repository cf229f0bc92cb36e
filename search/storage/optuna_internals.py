"""All uses of Optuna's private names, in one place."""

import copy
import gc
import json
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from datetime import datetime
from functools import wraps
from itertools import count
from typing import Any, TypeVar

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.samplers import BaseSampler, GridSampler
from optuna.storages import BaseStorage, RDBStorage, _CachedStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial
from sqlalchemy import Connection, event, text
from sqlalchemy.dialects import postgresql, sqlite

from foretune.datasets.common.errors import ConfigError
from foretune.search.storage.retry import RetryPolicy

# SQLite gives the ids of deleted rows again, and a new study would get the old one's trials.
for _table in (models.StudyModel, models.TrialModel):
    _table.__table__.dialect_options["sqlite"]["autoincrement"] = True

# The attribute of a study that tells it from another of its name that was made later.
STUDY_UUID = "foretune:uuid"

# The attributes of a trial that was enqueued, and of one that repeats others.
FIXED_PARAMS, RETRY_HISTORY = "fixed_params", "retry_history"

# Seconds after which all that may have changed is read again.
_LOOK_AGAIN = 1.0

# What an id can be at most: no trial comes after it.
_LARGEST_ID = 2**31 - 1

_ATTRIBUTE = text(
    "SELECT value_json FROM study_system_attributes WHERE study_id = :id AND key = :key"
)

T = TypeVar("T")

_reading: ContextVar[bool] = ContextVar("reading", default=False)


def trial_id(trial: Trial | FrozenTrial) -> int:
    """Return Optuna's number of a trial in its storage."""
    return trial._trial_id


def trial_at_start(trial: Trial) -> FrozenTrial:
    """Return a running trial as it was when it was started or taken over here."""
    return trial._cached_frozen_trial


def study_id(study: optuna.Study) -> int:
    """Return Optuna's number of a study in its storage."""
    return study._study_id


def storage_of(study: optuna.Study) -> BaseStorage:
    """Return the storage that ``study`` lives in."""
    return study._storage


def behind_cache(storage: BaseStorage) -> BaseStorage:
    """Return the storage behind Optuna's cache of finished trials."""
    return storage._backend if isinstance(storage, _CachedStorage) else storage


@contextmanager
def reading() -> Iterator[None]:
    """Let transactions on SQLite begin without the write lock while the context lasts."""
    token = _reading.set(True)
    try:
        yield
    finally:
        _reading.reset(token)


class RetryingStorage(RDBStorage):
    """``RDBStorage`` whose every call is made again while the database is away.

    A commit whose answer is lost may have been made: a write that is made again looks first.

    On SQLite a write takes the write lock when its transaction begins: Optuna relies on ``SELECT
    ... FOR UPDATE``, which does nothing there, and a transaction that reads before it writes fails
    at once when another has written in between. Reads take no lock.

    Args:
        url: of the database.
        engine_kwargs: SQLAlchemy's options.
        retry: what calls the database.
    """

    def __init__(self, url: str, engine_kwargs: dict[str, Any], retry: RetryPolicy) -> None:
        self.retry = retry
        self.bound: dict[int, str] = {}
        """The UUIDs of the studies that are driven here: no other may have taken their ids."""
        self.changed: set[int] = set()
        """Ids of trials written to, which :class:`TrialCache` has to read again."""
        super().__init__(url, engine_kwargs=engine_kwargs)
        self._prepare_engine()

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        self._prepare_engine()

    def _prepare_engine(self) -> None:
        # Or its connections would be closed by their own end, with a warning each.
        weakref.finalize(self, self.engine.dispose)
        if self.engine.name != "sqlite":
            return  # sequences give no id twice
        itself = weakref.ref(self)  # the engine would keep it, and its open file, for ever

        @event.listens_for(self.engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN" if _reading.get() else "BEGIN IMMEDIATE")
            storage = itself()
            if storage is not None and not _reading.get():
                for study, uuid in storage.bound.items():
                    row = {"id": study, "key": STUDY_UUID}
                    if connection.execute(_ATTRIBUTE, row).scalar() != f'"{uuid}"':
                        raise ConfigError("the study must be in the storage, but was deleted")

    def _create_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None = None
    ) -> FrozenTrial:
        """Create a trial; one that carries marks of its own is recognised and not made twice."""
        attempts = count()
        marks = {} if template_trial is None else template_trial.system_attrs

        def attempt() -> FrozenTrial:
            if next(attempts) and template_trial is not None and marks:
                for trial in super(RetryingStorage, self).get_all_trials(study_id, deepcopy=False):
                    same = trial.state == template_trial.state
                    if same and marks.items() <= trial.system_attrs.items():
                        return trial
            # Optuna's own method makes five attempts by itself, and each may make a trial.
            with _create_scoped_session(self.scoped_session) as session:
                models.StudyModel.find_or_raise_by_id(study_id, session, for_update=True)
                row: Any = self._get_prepared_new_trial(study_id, template_trial, session)
                made = copy.deepcopy(template_trial or create_trial(state=TrialState.RUNNING))
                made.number, made._trial_id = row.number, row.trial_id
                made.datetime_start = row.datetime_start
                return made

        return self.retry(attempt)

    def take_waiting_trial(self, trial_id: int, marks: Mapping[str, Any]) -> bool:
        """Set a waiting trial running, with marks, in one transaction; False if another did.

        One that runs under these very marks was taken by an earlier attempt.
        """

        def attempt() -> bool:
            with _create_scoped_session(self.scoped_session) as session:
                row = models.TrialModel.find_or_raise_by_id(trial_id, session, for_update=True)
                if row.state != TrialState.WAITING:
                    stored: Any = models.TrialSystemAttributeModel.where_trial_id(trial_id, session)
                    there = {attr.key: json.loads(attr.value_json) for attr in stored}
                    return marks.items() <= there.items()
                for name, value in marks.items():
                    self._set_trial_attr_without_commit(
                        session, models.TrialSystemAttributeModel, trial_id, name, value
                    )
                row.state, row.datetime_start = TrialState.RUNNING, datetime.now()
                return True

        return self._change(trial_id, attempt)

    def write_attributes(self, trial_id: int, values: Mapping[str, Any], *, system: bool) -> None:
        """Write user or system attributes of a trial in one transaction, in one statement."""
        model: Any = models.TrialSystemAttributeModel if system else models.TrialUserAttributeModel
        insert: Any = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[self.engine.name]
        statement = insert(model.__table__)
        statement = statement.on_conflict_do_update(
            index_elements=["trial_id", "key"], set_={"value_json": statement.excluded.value_json}
        )
        rows = [
            {"trial_id": trial_id, "key": name, "value_json": json.dumps(value)}
            for name, value in values.items()
        ]

        def write() -> None:
            with _create_scoped_session(self.scoped_session, True) as session:
                row: Any = models.TrialModel.find_or_raise_by_id(trial_id, session)
                self.check_trial_is_updatable(trial_id, row.state)
                if rows:
                    session.execute(statement, rows)

        self._change(trial_id, write)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Any = None) -> bool:
        """Set a trial's state, as Optuna does; an earlier attempt that arrived counts."""
        attempts = count()

        def attempt() -> bool:
            is_first = next(attempts) == 0
            try:
                return super(RetryingStorage, self).set_trial_state_values(trial_id, state, values)
            except UpdateFinishedTrialError:
                stored = self.get_trial(trial_id)
                same = values is None or stored.values == list(values)
                if not is_first and stored.state == state and same:
                    return True
                raise

        return self._change(trial_id, attempt)

    def _change(self, trial_id: int, call: Callable[[], T]) -> T:
        try:
            return self.retry(call)
        finally:
            self.changed.add(trial_id)


def _with_retry(name: str) -> Callable[..., Any]:
    call = getattr(RDBStorage, name)

    @wraps(call)
    def method(self: RetryingStorage, *args: Any, **kwargs: Any) -> Any:
        def attempt() -> Any:
            with reading() if name.startswith(("get_", "_get")) else nullcontext():
                return call(self, *args, **kwargs)

        if not name.startswith(("set_trial", "_set_trial")):
            return self.retry(attempt)
        return self._change(kwargs["trial_id"] if "trial_id" in kwargs else args[0], attempt)

    return method


# Optuna's public methods, and what its cache calls beside them.
_RETRIED = {"delete_study", "_set_trial_param", "_get_trials", "_get_best_trial_id"}
_RETRIED |= {name for name in vars(BaseStorage) if name.startswith(("get_", "set_", "create_"))}
for _name in _RETRIED - {*vars(RetryingStorage), "create_new_trial"}:
    setattr(RetryingStorage, _name, _with_retry(_name))


class TrialCache(_CachedStorage):
    """Optuna's cache, which does not read every running trial again at each look.

    With 64 of them Optuna's own takes 20 ms a look, and a pruner looks after every epoch. What this
    process has written is read again at once; what other programs write is seen a second later.
    """

    def __init__(self, backend: RetryingStorage) -> None:
        super().__init__(backend)
        self._looked: dict[int, float] = {}

    def look_again(self) -> None:
        """Let the next look read everything: another driver may have worked on it until now."""
        self._looked.clear()

    def _add_trials_to_cache(self, study_id: int, trials: list[FrozenTrial]) -> None:
        super()._add_trials_to_cache(study_id, trials)
        unfinished = self._studies[study_id].unfinished_trial_ids
        for trial in trials:
            change = unfinished.discard if trial.state.is_finished() else unfinished.add
            change(trial._trial_id)

    def _read_trials_from_remote_storage(self, study_id: int) -> None:
        now = time.monotonic()
        if now - self._looked.get(study_id, -_LOOK_AGAIN) >= _LOOK_AGAIN:
            # Spare the collector tens of thousands of rows: 1,000 trials load three times as fast.
            collects = gc.isenabled()
            gc.disable()
            try:
                super()._read_trials_from_remote_storage(study_id)
            finally:
                if collects:
                    gc.enable()
            self._looked[study_id] = now
            return
        with self._lock:
            backend: Any = self._backend
            changed = backend.changed & self._studies[study_id].unfinished_trial_ids
            if changed:
                backend.changed -= changed
                trials = backend._get_trials(study_id, None, changed, _LARGEST_ID)
                self._add_trials_to_cache(study_id, trials)


def start_trial(
    study: optuna.Study, marks: Mapping[str, Any], waiting: Iterable[FrozenTrial]
) -> Trial:
    """Start the first trial that waits, or else a new one: ``study.ask()`` with attributes.

    A new trial is never there without its ``marks``, system attributes that tell whose it is and
    that no other trial has: it is written in one transaction. The sampler sees the trials as they
    are now.
    """
    storage = study._storage
    study._thread_local.cached_all_trials = None
    for trial in waiting:
        if _take_waiting_trial(storage, trial._trial_id, marks):
            return Trial(study, trial._trial_id)
    template = create_trial(state=TrialState.RUNNING, system_attrs=dict(marks))
    template.datetime_start = datetime.now()
    return Trial(study, storage.create_new_trial(study._study_id, template))


def _take_waiting_trial(storage: BaseStorage, trial_id: int, marks: Mapping[str, Any]) -> bool:
    database = behind_cache(storage)
    if isinstance(database, RetryingStorage):
        return database.take_waiting_trial(trial_id, marks)
    if not storage.set_trial_state_values(trial_id, TrialState.RUNNING):
        return False  # another program was quicker, and runs it
    set_trial_attrs(storage, trial_id, marks, system=True)
    return True


def set_trial_attrs(
    storage: BaseStorage, trial_id: int, values: Mapping[str, Any], *, system: bool = False
) -> None:
    """Write user or system attributes of a trial, in one transaction where foretune opened it.

    Optuna commits each by itself, which on a disk takes as long as all of them together.

    Raises:
        UpdateFinishedTrialError: the trial has finished.
    """
    database = behind_cache(storage)
    if isinstance(database, RetryingStorage):
        database.write_attributes(trial_id, values, system=system)
        return
    write = storage.set_trial_system_attr if system else storage.set_trial_user_attr
    for name, value in values.items():
        write(trial_id, name, value)


def resumed_trial(study: optuna.Study, trial: FrozenTrial, marks: Mapping[str, Any]) -> Trial:
    """Return a trial that an earlier driver left running, with new marks."""
    study._thread_local.cached_all_trials = None
    set_trial_attrs(study._storage, trial._trial_id, marks, system=True)
    return Trial(study, trial._trial_id)


def end_trial(trial: Trial, state: TrialState, value: float | None = None) -> FrozenTrial:
    """Tell how a trial has ended; one that has been ended from elsewhere stays as it is."""
    study = trial.study
    try:
        return study.tell(trial, value, state=state, skip_if_finished=True)
    except UpdateFinishedTrialError:
        pass
    except KeyError as error:
        # Optuna's grid sampler does not expect trials that were enqueued; the state is set by then.
        if "grid_id" not in str(error):
            raise
    return study._storage.get_trial(trial._trial_id)


def startup_trials(sampler: BaseSampler) -> int:
    """Return how many trials a sampler draws at random before its model runs, or a guess."""
    count = getattr(sampler, "_n_startup_trials", None)
    return count if isinstance(count, int) else 10


def is_used_up(study: optuna.Study) -> bool:
    """Whether every point of a grid has been started: another trial would repeat one."""
    sampler = study.sampler
    if not isinstance(sampler, GridSampler):
        return False
    started = {
        trial.system_attrs["grid_id"]
        for trial in study.get_trials(deepcopy=False)
        if "grid_id" in trial.system_attrs
        and sampler._same_search_space(trial.system_attrs.get("search_space", {}))
    }
    return len(started) >= len(sampler._all_grids)
