"""Who has opened the test of a study, and when: what the study says of it."""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import optuna

from foretune.models.config import TrialConfig

# One attribute an opening: two reports at the same moment do not overwrite one another.
_OPENING = "test_opening:"


@dataclass(frozen=True, kw_only=True)
class Opening:
    """One look at the test: when (UTC), for which trial, with which config."""

    time: str
    trial: int
    config_digest: str


def record_opening(study: optuna.Study, trial: int, config: TrialConfig) -> None:
    """Write down in ``study`` that its test is opened now, for a trial and its config."""
    opening = Opening(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        trial=trial,
        config_digest=hashlib.sha256(config.to_toml().encode()).hexdigest()[:16],
    )
    study.set_user_attr(f"{_OPENING}{uuid.uuid4().hex}", asdict(opening))


def openings(study: optuna.Study) -> list[Opening]:
    """Return every opening of the study's test, the first one first."""
    found = (value for name, value in study.user_attrs.items() if name.startswith(_OPENING))
    return sorted((Opening(**value) for value in found), key=lambda opening: opening.time)


def openings_in_words(found: Sequence[Opening]) -> str:
    """Say how often the test has been opened, and what that means."""
    if not found:
        return "The test is sealed: it has never been opened."
    if len(found) == 1:
        return f"The test has been opened once, at {found[0].time}."
    return (
        f"The test has been opened {len(found)} times, first at {found[0].time}; "
        "whatever was decided after that may have been decided on it."
    )
