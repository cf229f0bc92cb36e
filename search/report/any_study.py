"""The report on a study of any objective, from the losses by origin that it has recorded."""

from dataclasses import dataclass
from importlib.metadata import version

import optuna
import pandas as pd

from foretune.search.report.document import evidence_paragraphs
from foretune.search.report.evidence import Evidence, gather_evidence, scored_trials
from foretune.search.report.tables import markdown_table, plain
from foretune.search.report.verdict import Verdict, verdict_of
from foretune.search.study.trials import format_states

# Trials that the table names, the best ones.
_TOP = 5


@dataclass(frozen=True, eq=False, kw_only=True)
class LossReport:
    """What a report on recorded losses says.

    ``mean_losses`` are those of the trials by number, the best one first.
    """

    study: optuna.Study
    finding: Verdict
    evidence: Evidence
    mean_losses: dict[int, float]
    horizon: int
    stride: int

    @property
    def verdict(self) -> str:
        """The verdict in words."""
        return str(self.finding)

    def metrics_table(self) -> pd.DataFrame:
        """Return one row per forecast: the trials, the best one first, then the baselines."""
        trials = [(f"trial {number}", loss) for number, loss in self.mean_losses.items()]
        rows = [*trials, *self.evidence.mean_losses.items()]
        return pd.DataFrame(rows, columns=["forecast", "loss"]).assign(part="validation")[
            ["part", "forecast", "loss"]
        ]

    def markdown(self) -> str:
        """Return the report as Markdown."""
        study, best = self.study, self.study.trials[self.finding.trial]
        trials = list(self.mean_losses.items())[:_TOP]
        rows = [[f"trial {number}", f"{loss:#.4g}"] for number, loss in trials]
        rows[0][0] = f"**{rows[0][0]}** (winner)"
        rows += [[plain(name), f"{loss:#.4g}"] for name, loss in self.evidence.mean_losses.items()]
        tried = len(study.get_trials(deepcopy=False))
        counted = self.finding.trials
        not_counted = (
            f"{counted} of {tried} trials are complete and have recorded their losses; the test "
            "does not count the others, nor what was decided between trials by looking at the same "
            f"origins. {plain(self.finding.left_out)}"
        )
        sections = [
            f"# {plain(study.study_name)}: is the winner more than luck?",
            f"**{plain(self.verdict)}**",
            markdown_table(rows, ["forecast", "mean loss"]),
            f"Mean over {self.finding.origins} origins (horizon {self.horizon}, stride "
            f"{self.stride}), of the best {len(trials)} of {self.finding.trials} trials and of "
            "what they are compared with. The winner has the lowest mean; it was chosen on these "
            "origins, so its loss flatters it. Rows that no trial has been scored on would say "
            "what it is worth.",
            "## How sure this is",
            *evidence_paragraphs(self.evidence, not_counted),
            "## The search",
            f"{tried} trials ({format_states(study)}).",
            "## The winner's parameters",
            markdown_table(
                [[plain(name), plain(f"{value}")] for name, value in best.params.items()]
            )
            if best.params
            else "It has none.",
            "## Where this comes from",
            markdown_table(
                [
                    ["horizon, stride", f"{self.horizon}, {self.stride}"],
                    ["versions", f"foretune {version('foretune')}, optuna {version('optuna')}"],
                ]
            ),
        ]
        return "\n\n".join(sections) + "\n"


def make_loss_report(study: optuna.Study) -> LossReport:
    """Judge a study of any objective that calls :func:`record_losses`; it needs no data.

    Raises:
        ConfigError: no trial is complete, or none has recorded its losses.

    Example:
        >>> write_report(make_loss_report(study), "results/forest")
    """
    scored = scored_trials(study)
    evidence = gather_evidence(scored)
    means = scored.losses.mean(axis=0)
    return LossReport(
        study=study,
        finding=verdict_of(study, scored, evidence),
        evidence=evidence,
        mean_losses=dict(zip(evidence.trials, means.tolist(), strict=True)),
        horizon=scored.horizon,
        stride=scored.stride,
    )
