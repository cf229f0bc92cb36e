"""The launcher: sees that the trials which a study lacks are run, here or by workers."""

import sys
from contextlib import suppress
from dataclasses import dataclass, replace

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from foretune.datasets.errors import ConfigError
from foretune.models.config import TrialConfig
from foretune.models.walk_forward import FoldResults
from foretune.search.engine.signals import StopRequest, stop_on_signal
from foretune.search.lane_worker import run_trials_in_lanes
from foretune.search.memory import DEFAULT_GROWTH
from foretune.search.patience import STORAGE_ERRORS
from foretune.search.progress import StudyProgress, show_progress
from foretune.search.storage.connect import heeding, stop_waiting
from foretune.search.study_note import StudyNote
from foretune.search.tickets import finished_trials
from foretune.search.worker import Listener, Work, deleted_study, run_trials
from foretune.search.workers import Round, default_workers, run_in_workers

# How often a worker looks whether the others have finished before it says that it waits: about
# five seconds.
_PATIENT_LOOKS = 10


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How a study's missing trials are run.

    ``url`` is that of the storage where other processes can open it, else None: the trials are then
    run in this process. ``workers`` None stands for as many as cores.
    """

    work: Work
    storage: BaseStorage
    url: str | None
    workers: int | None
    cache: bool
    show_progress: bool

    def __post_init__(self) -> None:
        """Refuse workers that could not see the storage."""
        if self.url is None and self.workers is not None and self.workers > 1:
            raise ConfigError(
                "workers must be 1 with a storage object or a database in memory (give the URL of "
                f"one on disk), but got {self.workers}"
            )

    def run(self, study: optuna.Study) -> None:
        """Run trials until ``study`` has enough, or until Ctrl-C.

        A worker that was killed leaves its trial running; the next round makes up for it.

        Raises:
            ConfigError: every worker of a round was killed before it finished a trial.
            WorkerGrownError: the trials run in this process, and it has grown enough.
        """
        total, done = self.work.total(study), finished_trials(study)
        if done >= total:
            return
        show = self.show_progress
        note = StudyNote(study)
        with (
            show_progress(study.study_name, done=done, total=total, show=show) as progress,
            stop_on_signal() as stop,
            heeding(self.storage, stop.heed),
        ):
            try:
                while (before := finished_trials(study)) < self.work.total(study):
                    ended = self._round(study, progress, note, stop)
                    if ended.stopped:
                        break
                    if finished_trials(study) == before:
                        _explain(study, ended)
                        break
            except KeyError as error:
                raise (deleted_study(error, study.study_name, self.storage) or error) from None
            except KeyboardInterrupt:
                stop_waiting(self.storage)
                _say_how_to_resume(study, self.work)
            # Who was interrupted does not wait for the study's lock either.
            with suppress(*STORAGE_ERRORS, KeyboardInterrupt):
                note.end()

    @property
    def _team(self) -> int:
        """How many processes run trials."""
        return 1 if self.url is None else self.workers or default_workers()

    def _round(
        self, study: optuna.Study, progress: StudyProgress, note: StudyNote, stop: StopRequest
    ) -> Round:
        """Run trials until the study has enough."""
        if self.url is None or self._team == 1:
            return self._here(study, progress, note, stop)

        def on_trial(number: int) -> None:
            told = study.get_trials(deepcopy=False)[number]
            progress.trial(study, told, self.work.total(study))
            note.trial_ended()

        growth = self.work.most_growth or DEFAULT_GROWTH
        # A study that says itself how many trials it wants may want more of them at any time.
        missing = self.work.total(study) - finished_trials(study)
        fixed = self.work.n_trials is not None
        return run_in_workers(
            replace(self.work, most_growth=growth),
            self.url,
            min(self._team, missing) if fixed else self._team,
            cache=self.cache,
            on_epoch=progress.epoch,
            on_trial=on_trial,
            on_idle=_Waiting(study.study_name).say_once,
            stop=stop,
        )

    def _here(
        self, study: optuna.Study, progress: StudyProgress, note: StudyNote, stop: StopRequest
    ) -> Round:
        """Run them in this process."""

        def on_epoch(number: int, config: TrialConfig, result: FoldResults) -> None:
            progress.epoch(number, result.epoch, config.epochs, result.relative_mse)
            stop.heed()

        def on_trial(trial: FrozenTrial) -> None:
            progress.trial(study, trial, self.work.total(study))
            note.trial_ended()
            stop.heed()

        waiting = _Waiting(study.study_name)

        def on_idle() -> None:
            waiting.say_once()
            stop.heed()

        listener = Listener(on_epoch, on_trial, on_idle)
        run = run_trials if self.work.lanes == 1 else run_trials_in_lanes
        return Round(0, run(self.work, self.storage, listener))


class _Waiting:
    """Says once that the last trials are other workers', if they take a while."""

    def __init__(self, study_name: str) -> None:
        self._name = study_name
        self._looks = 0

    def say_once(self) -> None:
        """Count one more look, a second apart at most."""
        self._looks += 1
        if self._looks == _PATIENT_LOOKS:
            print(
                f"Other workers run the last trials of study {self._name!r}; waiting, in case one "
                "of them is lost. Ctrl-C leaves them to it.",
                file=sys.stderr,
            )


def _explain(study: optuna.Study, ended: Round) -> None:
    """Say why a round finished no trial."""
    if ended.killed:
        raise ConfigError(
            f"study {study.study_name!r} must get on, but every worker was killed before it "
            "finished a trial; was the memory too small?"
        )


def _say_how_to_resume(study: optuna.Study, work: Work) -> None:
    try:
        stored = f"{finished_trials(study)} of {work.total(study)} trials"
    except STORAGE_ERRORS:  # the database is away
        stored = "All trials that had finished"
    print(
        f"\nInterrupted: {stored} of study {study.study_name!r} are stored. Run the same "
        "again to go on from there.",
        file=sys.stderr,
    )
