"""Many configs in, a reviewed study out. The facade of foretune."""

from .engine.status import StudyStatus, study_status
from .report.files import write_report
from .report.replay import replay
from .report.report import make_report
from .report.verdict import caution, caveat
from .review.results import trials_table, write_results
from .review.summary import StudySummary, summary, summary_table
from .run import join_study, run_study
from .space.dimensions import FloatRange, IntRange
from .space.known_configs import space_around
from .space.space import SearchSpace
from .storage.connect import load_study
from .study.best import best_config, best_trial, save_best, trial_config
from .study.trials import finished_trials
from .trial.objective import Objective

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
    "caveat",
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
