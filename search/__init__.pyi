"""Many configs in, a reviewed study out. The façade of foretune."""

from .best import best_config, best_trial, save_best, trial_config
from .engine.status import StudyStatus, study_status
from .known_configs import space_around
from .objective import Objective
from .replay_trial import replay
from .report import make_report
from .report_files import write_report
from .results import trials_table, write_results
from .space import FloatRange, IntRange, SearchSpace
from .storage.connect import load_study
from .study import join_study, run_study
from .study_summary import StudySummary, summary
from .study_target import finished_trials
from .summary_rows import summary_table
from .verdict_so_far import caution

__all__ = [
    "FloatRange",
    "IntRange",
    "Objective",
    "SearchSpace",
    "StudyStatus",
    "StudySummary",
    "best_config",
    "best_trial",
    "caution",
    "finished_trials",
    "join_study",
    "load_study",
    "make_report",
    "replay",
    "run_study",
    "save_best",
    "space_around",
    "study_status",
    "summary",
    "summary_table",
    "trial_config",
    "trials_table",
    "write_report",
    "write_results",
]
