"""The note that a study shows in optuna-dashboard: what was found so far, kept current."""

import time
from collections.abc import Callable

import optuna
from optuna.trial import FrozenTrial

from foretune.datasets.common.errors import ForetuneError
from foretune.search.report.markdown import plain, table
from foretune.search.report.verdict_so_far import (
    better_than_persistence,
    openings_of_test,
    verdict_so_far,
)
from foretune.search.review.summary_rows import states
from foretune.search.storage.artifacts import artifact_names, load_artifact, save_artifacts
from foretune.search.storage.optuna_internals import storage_of
from foretune.search.study.best import best_so_far, trial_config
from foretune.search.study.provenance import provenance_rows
from foretune.search.study.spec import required_spec
from foretune.search.study.target import StudyTarget, finished_trials
from foretune.search.trial.files import FORECASTS, LEARNING_CURVE

# What a user writes above this line stays.
MARK = "*Kept by foretune from here on; your own words stay above this line.*"

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
        """Write the note anew, if the last writing is long enough ago for what it takes."""
        self._is_current = False
        if self._clock() >= self._due:
            self.write()

    def end(self) -> None:
        """Write the note anew, unless no trial has ended since."""
        if not self._is_current:
            self.write()

    def write(self) -> None:
        """Write the note, and the figures of a new best trial."""
        # Only here: it brings a web server with it, and the first trial need not wait for that.
        from optuna_dashboard import get_note, save_note

        begun = self._clock()
        best, body = best_so_far(self._study), note(self._study)
        if best is not None and best.number != self._shown:
            self._show(best)
        above = get_note(self._study).partition(MARK)[0].rstrip()
        save_note(self._study, "\n\n".join(part for part in (above, MARK, body) if part))
        now = self._clock()
        self._is_current = True
        self._due = now + (now - begun) / _SHARE

    def _show(self, best: FrozenTrial) -> None:
        """Put the figures of the best trial where the study's own page shows them."""
        self._shown = best.number
        storage = storage_of(self._study)
        names = {FORECASTS, LEARNING_CURVE} & set(artifact_names(storage, best))
        try:
            files = {
                # Not drawn before somebody looks: a study may have many best trials in a row.
                f"best_{name}": load_artifact(storage, best, name, as_written=True)
                for name in sorted(names)
            }
        except ForetuneError:  # deleted or damaged, and no reason to stop
            return
        if files:
            save_artifacts(storage, self._study, files)


def note(study: optuna.Study) -> str:
    """Return the note on ``study`` as Markdown."""
    spec = required_spec(study)
    sections = [
        f"**{plain(verdict_so_far(study))}** {plain(openings_of_test(study))}",
        _facts(_progress(study)),
        *_best(study),
        "### Where this comes from",
        _facts(provenance_rows(spec)),
    ]
    return "\n\n".join(sections)


def _facts(rows: list[list[str]]) -> str:
    """Return a table of names and words, which read from the left.

    A colon parts them, because the dashboard leaves no room between columns.
    """
    parted = [[f"{name}:", words] for name, words in rows]
    return table(["", ""], parted).replace("---:", "---")


def _progress(study: optuna.Study) -> list[list[str]]:
    better, judged = better_than_persistence(study)
    done, target = finished_trials(study), StudyTarget.stored(study)
    of = "" if target is None else f" of {target.trials}"
    best = best_so_far(study)
    shown = "none yet" if best is None else f"{best.value:.4f} (trial {best.number})"
    return [
        ["trials done", f"{done}{of}: {states(study)}"],
        ["best relative MSE on validation", f"{shown}; persistence is 1"],
        ["below 1 on validation", f"{better} of {judged} trials; luck alone puts some there"],
    ]


def _best(study: optuna.Study) -> list[str]:
    best = best_so_far(study)
    if best is None:
        return []
    try:
        config = trial_config(best).to_toml().strip()
    except ForetuneError:  # added by hand, and no reason to stop
        return []
    return ["### The best config so far, to copy", f"```toml\n{config}\n```"]
