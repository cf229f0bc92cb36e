"""The launcher: adds the tickets that a study lacks, and sees that they are run."""

import sys
from dataclasses import dataclass

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from foretune.datasets.errors import ConfigError
from foretune.models.config import TrialConfig
from foretune.models.training import EpochResult
from foretune.search.interrupt import StopRequest, stop_on_signal
from foretune.search.lane_worker import run_trials_in_lanes, tickets_ahead
from foretune.search.progress import StudyProgress, show_progress
from foretune.search.tickets import add_tickets, finished_trials
from foretune.search.worker import Listener, Work, run_trials
from foretune.search.workers import Round, default_workers, run_in_workers


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
                "workers must be 1 with a storage that lives in this process, but got "
                f"{self.workers}"
            )

    def run(self, study: optuna.Study) -> None:
        """Run trials until ``study`` has enough, or until Ctrl-C.

        A worker that was killed leaves its trial running; the next round makes up for it.

        Raises:
            ConfigError: every worker of a round was killed before it finished a trial.
        """
        total, done = self.work.n_trials, finished_trials(study)
        if done >= total:
            return
        show = self.show_progress
        with (
            show_progress(study.study_name, done=done, total=total, show=show) as progress,
            stop_on_signal() as stop,
        ):
            try:
                while (before := finished_trials(study)) < total:
                    add_tickets(study, total, ahead=self._ahead, count_running=False)
                    ended = self._round(study, progress, stop)
                    if ended.stopped:
                        break
                    if finished_trials(study) == before:
                        _require_alive(study, ended)
                        break
            except KeyboardInterrupt:
                _say_how_to_resume(study, total)

    @property
    def _team(self) -> int:
        """How many processes run trials."""
        return 1 if self.url is None else self.workers or default_workers()

    @property
    def _ahead(self) -> int:
        return self._team * tickets_ahead(self.work.lanes)

    def _round(self, study: optuna.Study, progress: StudyProgress, stop: StopRequest) -> Round:
        """Run trials until no ticket is left."""
        workers = min(self._team, self.work.n_trials - finished_trials(study))
        if self.url is None or workers == 1:
            return self._here(study, progress, stop)

        def on_trial(number: int) -> None:
            add_tickets(study, self.work.n_trials, ahead=self._ahead)
            progress.trial(study, study.get_trials(deepcopy=False)[number])

        return run_in_workers(
            self.work,
            self.url,
            workers,
            cache=self.cache,
            on_epoch=progress.epoch,
            on_trial=on_trial,
            stop=stop,
        )

    def _here(self, study: optuna.Study, progress: StudyProgress, stop: StopRequest) -> Round:
        """Run them in this process."""

        def on_epoch(number: int, config: TrialConfig, result: EpochResult) -> None:
            progress.epoch(number, result.epoch, config.epochs, result.relative_mse)
            stop.heed()

        def on_trial(trial: FrozenTrial) -> None:
            add_tickets(study, self.work.n_trials, ahead=self._ahead)
            progress.trial(study, trial)
            stop.heed()

        run = run_trials if self.work.lanes == 1 else run_trials_in_lanes
        return Round(0, run(self.work, self.storage, Listener(on_epoch, on_trial)))


def _require_alive(study: optuna.Study, ended: Round) -> None:
    if ended.killed:
        raise ConfigError(
            f"study {study.study_name!r} must get on, but every worker was killed before it "
            "finished a trial; was the memory too small?"
        )


def _say_how_to_resume(study: optuna.Study, n_trials: int) -> None:
    print(
        f"\nInterrupted: {finished_trials(study)} of {n_trials} trials of study "
        f"{study.study_name!r} are stored. Run the same again to go on from there.",
        file=sys.stderr,
    )
