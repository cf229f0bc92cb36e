"""Many configs in, a reviewed study out. The façade of foretune."""

import foretune.search.optuna_import  # noqa: F401
from foretune.search.best import best_config, best_trial, save_best, trial_config
from foretune.search.known_configs import space_around
from foretune.search.objective import Objective
from foretune.search.replay import replay
from foretune.search.report import make_report
from foretune.search.report_files import write_report
from foretune.search.results import trials_table, write_results
from foretune.search.space import FloatRange, IntRange, SearchSpace
from foretune.search.storage import load_study
from foretune.search.study import run_study
from foretune.search.study_summary import StudySummary, summary
from foretune.search.summary import caution, summary_table
from foretune.search.tickets import finished_trials

__all__ = [
    "FloatRange",
    "IntRange",
    "Objective",
    "SearchSpace",
    "StudySummary",
    "best_config",
    "best_trial",
    "caution",
    "finished_trials",
    "load_study",
    "make_report",
    "replay",
    "run_study",
    "save_best",
    "space_around",
    "summary",
    "summary_table",
    "trial_config",
    "trials_table",
    "write_report",
    "write_results",
]
