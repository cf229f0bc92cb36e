"""Many configs in, a reviewed study out. The facade of foretune."""

from .engine.status import StudyStatus, study_status
from .report.any_study import LossReport, make_loss_report
from .report.files import write_report
from .report.replay import replay
from .report.report import make_report
from .report.verdict import Verdict, caution, caveat, verdict
from .review.results import trials_table, write_results
from .review.summary import StudySummary, summary, summary_table
from .run import join_study, run_study
from .space.dimensions import FloatRange, IntRange
from .space.known_configs import space_around
from .space.space import SearchSpace
from .storage.connect import load_study
from .study.best import best_config, best_trial, save_best, trial_config
from .study.losses import record_losses
from .study.trials import finished_trials
from .trial.objective import Objective

__all__ = [
    "FloatRange",
    "IntRange",
    "LossReport",
    "Objective",
    "SearchSpace",
    "StudyStatus",
    "StudySummary",
    "Verdict",
    "best_config",
    "best_trial",
    "caution",
    "caveat",
    "finished_trials",
    "join_study",
    "load_study",
    "make_loss_report",
    "make_report",
    "record_losses",
    "replay",
    "run_study",
    "save_best",
    "space_around",
    "study_status",
    "summary",
    "summary_table",
    "trial_config",
    "trials_table",
    "verdict",
    "write_report",
    "write_results",
]
