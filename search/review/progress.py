"""What a running study shows: a bar with the best value and the time left, or plain lines."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from foretune.models.config import MetricName, TrialConfig
from foretune.models.training.results import FoldResults
from foretune.search.engine.signals import StopRequest
from foretune.search.study.best import best_so_far, rank
from foretune.search.study.spec import OBJECTIVE_NAME, format_value
from foretune.search.study.trials import is_finished
from foretune.search.trial.record import OnEpoch

_NAME = TextColumn("{task.description}", markup=False)
_NOW = TextColumn("{task.fields[now]}", style="dim")

_NOTEBOOK_SECONDS = 0.2  # between two drawings


class Bar:
    """A live bar on a terminal or in a notebook; elsewhere one line per trial.

    A notebook draws the bar in its place, and keeps it when it is saved. rich would draw there with
    ipywidgets, and where they are missing it warns instead, several times a second.
    """

    def __init__(
        self, bar: Progress, name: str, done: int, total: int, metric: MetricName = OBJECTIVE_NAME
    ) -> None:
        self._bar = bar
        self._metric: MetricName = metric
        self._running: dict[int, str] = {}
        self._task = bar.add_task(
            name, total=total, completed=done, now="first trial: compiling", best=""
        )
        self._notebook: Any = None
        self._drawn = time.monotonic()
        if bar.console.is_jupyter and not bar.console.quiet:
            from IPython.display import display  # it is there in a notebook, and only there

            self._notebook = display(bar, display_id=True)  # type: ignore[no-untyped-call]

    def epoch(self, number: int, config: TrialConfig, results: FoldResults) -> None:
        """Show where the running trials are."""
        self._running[number] = _format_epoch(number, config, results, self._metric)
        self._show_running()

    def trial(self, study: optuna.Study, trial: FrozenTrial, total: int) -> None:
        """Show how far along the study is, whoever ran its trials, and its best trial so far."""
        self._running.pop(trial.number, None)
        console = self._bar.console
        if console.quiet:
            return
        best = best_so_far(study)
        text = ""
        if best is not None:
            name = "" if self._metric == OBJECTIVE_NAME else f"{self._metric} "
            value = format_value(rank(best)[0], self._metric, 4)
            text = f"best {name}{value} (trial {best.number})"
        done = sum(map(is_finished, study.get_trials(deepcopy=False)))
        self._bar.update(self._task, completed=done, total=total, best=text)
        self._show_running()
        if trial.state == TrialState.FAIL:
            reason = trial.user_attrs.get("error", "see the traceback")
            # An error may have brackets in it, which rich would read as its marks.
            console.print(f"trial {trial.number} failed: {reason}", markup=False)
        elif not (console.is_terminal or console.is_jupyter):
            console.print(_line(trial, text, self._metric), soft_wrap=True)

    def end(self) -> None:
        """Leave the last state in a notebook."""
        self._bar.update(self._task, now="")
        if self._notebook is not None:
            self._notebook.update(self._bar)

    def _show_running(self) -> None:
        running = list(self._running.values())
        more = f", and {len(running) - 4} more" if len(running) > 4 else ""
        self._bar.update(self._task, now=", ".join(running[:4]) + more)
        now = time.monotonic()
        if self._notebook is not None and now >= self._drawn + _NOTEBOOK_SECONDS:
            self._notebook.update(self._bar)
            self._drawn = now


def _format_epoch(
    number: int, config: TrialConfig, results: FoldResults, metric: MetricName
) -> str:
    value = format_value(results.value, metric, 4)
    return f"trial {number} epoch {results.epoch}/{config.epochs} {value}"


def _line(trial: FrozenTrial, best: str, metric: MetricName) -> str:
    attrs = trial.user_attrs
    value = format_value(attrs.get(metric, float("nan")), metric, 4)
    return (
        f"trial {trial.number} {trial.state.name.lower()}: {metric} {value} at epoch "
        f"{attrs.get('best_epoch')} of {attrs.get('epochs')}, {attrs.get('seconds')} s; {best}"
    )


@contextmanager
def show_progress(
    name: str, *, done: int, total: int, show: bool, metric: MetricName = OBJECTIVE_NAME
) -> Iterator[Bar]:
    """Show the progress of study ``name`` while the context lasts; nothing without ``show``."""
    columns = (
        _NAME,
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[best]}", style="bold"),
        TimeRemainingColumn(elapsed_when_finished=True),
        _NOW,
    )
    console = Console(stderr=True, quiet=not show)
    disable = console.is_jupyter or not show
    with Progress(*columns, console=console, transient=True, disable=disable) as progress:
        bar = Bar(progress, name, done, total, metric)
        try:
            yield bar
        finally:
            bar.end()


@contextmanager
def live_line(description: str) -> Iterator[Callable[..., None]]:
    """Show a line on a terminal while the context lasts.

    Yields:
        What to call with ``now`` and ``description``, each if it has changed.
    """
    console = Console(stderr=True)
    disable = not console.is_terminal
    with Progress(_NAME, _NOW, console=console, transient=True, disable=disable) as progress:
        yield partial(progress.update, progress.add_task(description, now="compiling"))


@contextmanager
def show_training(
    what: str, stop: StopRequest, metric: MetricName = OBJECTIVE_NAME
) -> Iterator[OnEpoch]:
    """Show the epochs of trials that are trained again, and stop after that of the user's Ctrl-C.

    A KeyboardInterrupt would be lost where JAX calls back into Python.
    """
    with live_line(what) as show:

        def on_epoch(number: int, config: TrialConfig, results: FoldResults) -> None:
            show(now=_format_epoch(number, config, results, metric))
            stop.check_stop()

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
