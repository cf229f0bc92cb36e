"""The note that a study shows in optuna-dashboard: what was found so far, kept current."""

import time
from collections.abc import Callable
from contextlib import suppress

import optuna
from optuna.trial import FrozenTrial

from foretune.datasets.common.errors import ForetuneError
from foretune.models.forecasts.metrics import METRICS
from foretune.search.report.tables import markdown_table, plain, provenance_rows
from foretune.search.report.verdict import better_than_persistence, openings_of_test, verdict_so_far
from foretune.search.storage.artifacts import artifact_names, load_artifact, save_artifacts
from foretune.search.storage.optuna_internals import storage_of
from foretune.search.study.baselines import persistence_value, stored_baselines
from foretune.search.study.best import best_so_far, rank, trial_config
from foretune.search.study.remarks import training_remarks
from foretune.search.study.spec import OBJECTIVE_NAME, format_value, required_spec
from foretune.search.study.target import StudyTarget
from foretune.search.study.trials import finished_trials, format_states
from foretune.search.trial.files import FORECASTS, LEARNING_CURVE

# What a user writes above this line stays.
DIVIDER = "*Kept by foretune from here on; your own words stay above this line.*"

# Time spent on the note is at most this share of the time between two notes.
_SHARE = 0.01


class StudyNote:
    """Keeps a study's note and its best trial's figures current, at little cost.

    Args:
        study: the study.
        clock: seconds, for when to write next.
    """

    def __init__(self, study: optuna.Study, clock: Callable[[], float] = time.monotonic) -> None:
        self._study = study
        self._clock = clock
        self._due = clock()
        self._is_current = False
        self._shown: int | None = None

    def trial_ended(self) -> None:
        """Write the note again, if that takes little of the time since it was last written."""
        self._is_current = False
        if self._clock() >= self._due:
            self.write()

    def end(self) -> None:
        """Write the note again, if a trial has ended since."""
        if not self._is_current:
            self.write()

    def write(self) -> None:
        """Write the note, and the figures of a new best trial."""
        # Here: it imports a web server, for which the first trial need not wait.
        from optuna_dashboard import get_note, save_note

        begun = self._clock()
        best, body = best_so_far(self._study), note(self._study)
        if best is not None and best.number != self._shown:
            self._show(best)
        above = get_note(self._study).partition(DIVIDER)[0].rstrip()
        save_note(self._study, "\n\n".join(part for part in (above, DIVIDER, body) if part))
        now = self._clock()
        self._is_current = True
        self._due = now + (now - begun) / _SHARE

    def _show(self, best: FrozenTrial) -> None:
        """Put the figures of the best trial where the study's own page shows them."""
        self._shown = best.number
        storage = storage_of(self._study)
        names = {FORECASTS, LEARNING_CURVE} & set(artifact_names(storage, best))
        try:
            files = {f"best_{name}": load_artifact(storage, best, name) for name in sorted(names)}
        except ForetuneError:  # they were deleted or damaged
            return
        if files:
            save_artifacts(storage, self._study, files)


def note(study: optuna.Study) -> str:
    """Return the note on ``study`` as Markdown."""
    spec, target, best = required_spec(study), StudyTarget.stored(study), best_so_far(study)
    better, scored = better_than_persistence(study)
    of = "" if target is None else f" of {target.trials}"
    metric, label = spec.metric, METRICS[spec.metric].label
    value = "none yet"
    if best is not None:
        value = f"{format_value(rank(best)[0], metric, 4)} (trial {best.number})"
    persistence = persistence_value(study, metric)
    if persistence is not None:
        value += f"; persistence is {persistence:.4g}"
    below = "below 1" if metric == OBJECTIVE_NAME else "below persistence"
    progress = [
        ["trials done", f"{finished_trials(study)}{of}: {format_states(study)}"],
        [f"best {label} on validation", value],
        [f"{below} on validation", f"{better} of {scored} trials; luck alone puts some there"],
    ]
    if baselines := stored_baselines(study, metric):
        found = (
            f"{name} {format_value(metrics[metric], metric, 4)}"
            for name, metrics in baselines.items()
        )
        progress.append([f"{label} of baselines", plain(", ".join(found))])
    config = []
    if best is not None:
        progress += [["what its epochs say", remark] for remark in training_remarks(best)]
        with suppress(ForetuneError):  # a trial that was added by hand may have no config
            text = trial_config(best).to_toml().strip()
            config = ["### The best config so far, to copy", f"```toml\n{text}\n```"]
    sections = [
        f"**{plain(verdict_so_far(study))}** {plain(openings_of_test(study))}",
        _facts(progress),
        *config,
        "### Where this comes from",
        _facts(provenance_rows(spec)),
    ]
    return "\n\n".join(sections)


def _facts(rows: list[list[str]]) -> str:
    """Return a table of names, with colons as the dashboard puts no space after them, and words."""
    return markdown_table([[f"{name}:", words] for name, words in rows])
