"""What a running study shows: a bar with the best value and the time left, or plain lines."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Protocol

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from foretune.models.config import TrialConfig
from foretune.models.training.results import FoldResults
from foretune.search.review.notebook_progress import drawn_by_notebook
from foretune.search.study.best import best_so_far
from foretune.search.study.spec import OBJECTIVE_NAME
from foretune.search.study.target import is_finished
from foretune.search.trial.record import OnEpoch


class StudyProgress(Protocol):
    """What :func:`run_study` tells."""

    def epoch(self, number: int, epoch: int, epochs: int, value: float) -> None:
        """An epoch of trial ``number`` has ended, at validation value ``value``."""

    def trial(self, study: optuna.Study, trial: FrozenTrial, total: int) -> None:
        """A trial of ``study``, which shall have ``total``, has ended."""


class Silent:
    """Shows nothing."""

    def epoch(self, number: int, epoch: int, epochs: int, value: float) -> None:
        """Show nothing."""

    def trial(self, study: optuna.Study, trial: FrozenTrial, total: int) -> None:
        """Show nothing."""


class Bar:
    """A live bar on a terminal or in a notebook; elsewhere one line per trial.

    ``draw`` is called after every change, for a bar that does not draw itself.
    """

    def __init__(
        self, bar: Progress, name: str, done: int, total: int, draw: Callable[[], None]
    ) -> None:
        self._bar = bar
        self._draw = draw
        self._running: dict[int, str] = {}
        self._task = bar.add_task(
            name, total=total, completed=done, now="first trial: compiling", best=""
        )

    def epoch(self, number: int, epoch: int, epochs: int, value: float) -> None:
        """Show where the running trials are."""
        self._running[number] = f"trial {number} epoch {epoch}/{epochs} {value:.4f}"
        self._show_running()

    def _show_running(self) -> None:
        shown = list(self._running.values())
        more = f", and {len(shown) - 4} more" if len(shown) > 4 else ""
        self._bar.update(self._task, now=", ".join(shown[:4]) + more)
        self._draw()

    def trial(self, study: optuna.Study, trial: FrozenTrial, total: int) -> None:
        """Show how far the study is, by whosever work, and its best trial so far."""
        self._running.pop(trial.number, None)
        best = best_so_far(study)
        shown = "" if best is None else f"best {best.value:.4f} (trial {best.number})"
        done = sum(map(is_finished, study.get_trials(deepcopy=False)))
        self._bar.update(self._task, completed=done, total=total, best=shown)
        self._show_running()
        console = self._bar.console
        if trial.state == TrialState.FAIL:
            # An error may have brackets in it, which rich would read as its marks.
            console.print(f"trial {trial.number} failed: {_reason(trial)}", markup=False)
        elif not (console.is_terminal or console.is_jupyter):
            console.print(_line(trial, shown), soft_wrap=True)


def _reason(trial: FrozenTrial) -> str:
    return str(trial.user_attrs.get("error", "see the traceback"))


def _line(trial: FrozenTrial, best: str) -> str:
    attrs = trial.user_attrs
    value = attrs.get(OBJECTIVE_NAME, float("nan"))
    return (
        f"trial {trial.number} {trial.state.name.lower()}: {OBJECTIVE_NAME} {value:.4f} at epoch "
        f"{attrs.get('best_epoch')} of {attrs.get('epochs')}, {attrs.get('seconds')} s; {best}"
    )


@contextmanager
def show_progress(name: str, *, done: int, total: int, show: bool) -> Iterator[StudyProgress]:
    """Show the progress of study ``name`` while the context lasts."""
    if not show:
        yield Silent()
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[best]}", style="bold"),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[now]}", style="dim"),
    )
    console = Console(stderr=True)
    notebook = console.is_jupyter
    with (
        Progress(*columns, console=console, transient=True, disable=notebook) as bar,
        drawn_by_notebook(bar) if notebook else nullcontext(_draws_itself) as draw,
    ):
        yield Bar(bar, name, done, total, draw)


def _draws_itself() -> None:
    """Leave the drawing to the bar, as on a terminal."""


@contextmanager
def show_training(what: str) -> Iterator[OnEpoch]:
    """Show the epochs of trials that are trained once more while the context lasts."""
    columns = (
        TextColumn("{task.description}", markup=False),
        TextColumn("{task.fields[now]}", style="dim"),
    )
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(what, now="compiling")

        def on_epoch(number: int, config: TrialConfig, results: FoldResults) -> None:
            shown = f"trial {number} epoch {results.epoch}/{config.epochs}"
            bar.update(task, now=f"{shown} {results.relative_mse:.4f}")

        yield on_epoch


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Silence Optuna's own line per trial while the context lasts; the progress says it better."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(verbosity, optuna.logging.ERROR))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)
