"""Optuna's database storage, waiting for its database where Optuna's own would give up."""

from collections.abc import Callable, Sequence
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from foretune.search.patience import Patience

# Calls that may simply be made again: a second one changes nothing.
_REPEATABLE = (
    "create_new_trial",  # one too many, which is not taken beyond the total and not repeated twice
    "create_new_study",  # is there by then, and loaded by who asked for that
    "set_study_user_attr",
    "set_study_system_attr",
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_directions",
    "get_study_user_attrs",
    "get_study_system_attrs",
    "get_all_studies",
    "set_trial_param",
    "_set_trial_param",
    "get_trial_param",
    "set_trial_intermediate_value",
    "set_trial_user_attr",
    "set_trial_system_attr",
    "get_trial_id_from_study_id_trial_number",
    "get_trial",
    "get_all_trials",
    "_get_trials",
    "_create_new_trial",
    "get_best_trial",
    "_get_best_trial_id",
)


class PatientStorage(RDBStorage):
    """``RDBStorage`` whose every call waits while the database is away.

    A commit whose answer is lost may have been made: a call that is made again finds that out.

    Args:
        url: of the database.
        engine_kwargs: SQLAlchemy's options.
        patience: how it waits.
    """

    def __init__(self, url: str, engine_kwargs: dict[str, Any], patience: Patience) -> None:
        self.patience = patience
        super().__init__(url, engine_kwargs=engine_kwargs)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Set a trial's state, as Optuna does, and know one's own unanswered write again."""
        attempts = 0

        def attempt() -> bool:
            nonlocal attempts
            attempts += 1
            try:
                done = super(PatientStorage, self).set_trial_state_values(trial_id, state, values)
            except UpdateFinishedTrialError:
                if attempts > 1 and _is_in(self.get_trial(trial_id), state, values):
                    return True
                raise
            return done

        return self.patience(attempt)


def _is_in(trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> bool:
    return trial.state == state and (values is None or trial.values == list(values))


def _patient(name: str) -> Callable[..., Any]:
    call = getattr(RDBStorage, name)

    def patiently(self: PatientStorage, *args: Any, **kwargs: Any) -> Any:
        return self.patience(lambda: call(self, *args, **kwargs))

    return patiently


for _name in _REPEATABLE:
    setattr(PatientStorage, _name, _patient(_name))
