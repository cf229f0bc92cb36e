"""Who has opened a test, and when: what the studies of a storage record."""

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
_ATTRIBUTE = "test_opening:"


@dataclass(frozen=True, kw_only=True)
class HeldOutAccess:
    """One opening of the test: when (UTC), by which study, for which trial with which config.

    ``prices`` is the digest of the data and ``test_start`` the time of the first test row:
    whichever study opens them, the same rows are seen. None is what a record does not say, written
    by hand or by another version.
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
        stored = record if isinstance(record, dict) else {}

        def text(name: str) -> str | None:
            value = stored.get(name)
            return value if isinstance(value, str) and value else None

        trial, time = stored.get("trial"), text("time")
        try:
            time = time and datetime.fromisoformat(time).isoformat(timespec="seconds")
        except ValueError:
            time = None
        return cls(
            time=time,
            study=text("study") or study_name,
            trial=trial if isinstance(trial, int) else None,
            config_digest=text("config_digest"),
            prices=text("prices"),
            test_start=text("test_start"),
        )


def record_access(
    study: optuna.Study, trial: int, config: TrialConfig, *, prices: str, test_start: str
) -> None:
    """Write down in ``study`` that its test is opened now, for a trial and its config."""
    access = HeldOutAccess(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        study=study.study_name,
        trial=trial,
        config_digest=hashlib.sha256(config.to_toml().encode()).hexdigest()[:16],
        prices=prices,
        test_start=test_start,
    )
    study.set_user_attr(f"{_ATTRIBUTE}{uuid.uuid4().hex}", asdict(access))


def read_access_log(study: optuna.Study, *, prices: str) -> list[HeldOutAccess]:
    """Return every opening of these prices' test by any study of the storage, the first one first.

    One whose record does not say of which prices is among them: it may have been of these.

    Args:
        study: one of the studies.
        prices: digest of its prices.
    """
    found = (
        HeldOutAccess.read(value, other.study_name)
        for other in storage_of(study).get_all_studies()
        for name, value in other.user_attrs.items()
        if name.startswith(_ATTRIBUTE)
    )
    ours = (access for access in found if access.prices in (prices, None))
    return sorted(ours, key=lambda access: access.time or "")


def format_access_log(log: Sequence[HeldOutAccess], study_name: str) -> str:
    """Say how often the test has been opened, and what that means for study ``study_name``."""
    if not log:
        return "The test is sealed: no study of this storage has opened it."
    others = sum(access.study != study_name for access in log)
    times = [access.time for access in log if access.time is not None]
    first = times[0] if times else "an unknown time"
    if len(log) == 1:
        by = f" by study {log[0].study!r}" if others else ""
        opened = f"once{by}, at {first}"
    else:
        by = f" ({others} of them by other studies of the same data)" if others else ""
        opened = f"{len(log)} times{by}, first at {first}"
    text = f"The test has been opened {opened}; whatever was decided after that may have seen it."
    incomplete = sum(not access.is_complete for access in log)
    if incomplete:
        text += (
            f" For {incomplete} of these openings the record does not say when or for which "
            "data; they count nevertheless."
        )
    return text
