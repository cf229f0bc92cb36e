"""Who has opened a test, and when: what the studies of a storage say of it."""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import optuna

from foretune.models.config import TrialConfig
from foretune.search.storage import storage_of

# One attribute an opening: two reports at the same moment do not overwrite one another.
_OPENING = "test_opening:"


@dataclass(frozen=True, kw_only=True)
class Opening:
    """One look at the test: when (UTC), by which study, for which trial with which config.

    ``prices`` is their digest and ``test_start`` the first test day: whichever study opens them,
    the same days are seen.
    """

    time: str
    study: str
    trial: int
    config_digest: str
    prices: str
    test_start: str


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

    Args:
        study: one of the studies.
        prices: digest of its prices.
    """
    found = (
        Opening(**value)
        for other in storage_of(study).get_all_studies()
        for name, value in other.user_attrs.items()
        if name.startswith(_OPENING)
    )
    mine = (opening for opening in found if opening.prices == prices)
    return sorted(mine, key=lambda opening: opening.time)


def openings_in_words(found: Sequence[Opening], study_name: str) -> str:
    """Say how often the test has been opened, and what that means for study ``study_name``."""
    if not found:
        return "The test is sealed: no study of this storage has opened it."
    others = sum(opening.study != study_name for opening in found)
    by = f" ({others} of them by other studies of the same prices)" if others else ""
    if len(found) == 1:
        by = f" by study {found[0].study!r}" if others else ""
        times = f"once{by}, at {found[0].time}"
    else:
        times = f"{len(found)} times{by}, first at {found[0].time}"
    return f"The test has been opened {times}; whatever was decided after that may have seen it."
