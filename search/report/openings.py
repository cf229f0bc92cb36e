"""Who has opened a test, and when: what the studies of a storage say of it."""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Self

import optuna

from foretune.models.config import TrialConfig
from foretune.search.storage.optuna_internals import storage_of

# One attribute an opening: two reports at the same moment do not overwrite one another.
_OPENING = "test_opening:"


@dataclass(frozen=True, kw_only=True)
class Opening:
    """One look at the test: when (UTC), by which study, for which trial with which config.

    ``prices`` is their digest and ``test_start`` the first test day: whichever study opens them,
    the same days are seen. None is what a record does not say, written by other hands or another
    version.
    """

    time: str | None
    study: str
    trial: int | None
    config_digest: str | None
    prices: str | None
    test_start: str | None

    @property
    def is_complete(self) -> bool:
        """Whether its record says when which test was opened."""
        return self.time is not None and self.prices is not None

    @classmethod
    def read(cls, record: object, study_name: str) -> Self:
        """Read a record of any shape that study ``study_name`` has: each is an opening."""
        said = record if isinstance(record, dict) else {}
        trial = said.get("trial")
        return cls(
            time=_time(said.get("time")),
            study=_text(said.get("study")) or study_name,
            trial=trial if isinstance(trial, int) else None,
            config_digest=_text(said.get("config_digest")),
            prices=_text(said.get("prices")),
            test_start=_text(said.get("test_start")),
        )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _time(value: object) -> str | None:
    text = _text(value)
    try:
        return text and datetime.fromisoformat(text).isoformat(timespec="seconds")
    except ValueError:
        return None


def record_opening(
    study: optuna.Study, trial: int, config: TrialConfig, *, prices: str, test_start: str
) -> None:
    """Write down in ``study`` that its test is opened now, for a trial and its config."""
    opening = Opening(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        study=study.study_name,
        trial=trial,
        config_digest=hashlib.sha256(config.to_toml().encode()).hexdigest()[:16],
        prices=prices,
        test_start=test_start,
    )
    study.set_user_attr(f"{_OPENING}{uuid.uuid4().hex}", asdict(opening))


def openings(study: optuna.Study, *, prices: str) -> list[Opening]:
    """Return every opening of these prices' test by any study of the storage, the first one first.

    One whose record does not say of which prices is among them: it may have been of these.

    Args:
        study: one of the studies.
        prices: digest of its prices.
    """
    found = (
        Opening.read(value, other.study_name)
        for other in storage_of(study).get_all_studies()
        for name, value in other.user_attrs.items()
        if name.startswith(_OPENING)
    )
    mine = (opening for opening in found if opening.prices in (prices, None))
    return sorted(mine, key=lambda opening: opening.time or "")


def format_openings(found: Sequence[Opening], study_name: str) -> str:
    """Say how often the test has been opened, and what that means for study ``study_name``."""
    if not found:
        return "The test is sealed: no study of this storage has opened it."
    others = sum(opening.study != study_name for opening in found)
    by = f" ({others} of them by other studies of the same prices)" if others else ""
    times = [opening.time for opening in found if opening.time is not None]
    first = times[0] if times else "an unknown time"
    if len(found) == 1:
        by = f" by study {found[0].study!r}" if others else ""
        said = f"once{by}, at {first}"
    else:
        said = f"{len(found)} times{by}, first at {first}"
    return (
        f"The test has been opened {said}; whatever was decided after that may have seen it."
        f"{_on_incomplete(found)}"
    )


def _on_incomplete(found: Sequence[Opening]) -> str:
    count = sum(not opening.is_complete for opening in found)
    if count == 0:
        return ""
    return (
        f" Of {count} of these openings the record does not say when or of which prices; they "
        "count all the same."
    )
