"""What a study says of itself at its end."""

import optuna
import pytest

from foretune.datasets import PriceSeries, load_sample
from foretune.datasets.errors import ConfigError
from foretune.search import SearchSpace, caution, make_report, run_study
from foretune.search.evidence import skill_so_far


def searched(prices: PriceSeries, space: SearchSpace) -> optuna.Study:
    return run_study(
        "s",
        prices,
        n_trials=4,
        space=space.fix(steps_per_epoch=20, batch_size=16),
        horizon=5,
        storage=optuna.storages.InMemoryStorage(),
        pruner=optuna.pruners.NopPruner(),
        show_progress_bar=False,
    )


def test_the_verdict_so_far_is_the_sealed_reports(tiny_space: SearchSpace) -> None:
    for sample, skill in (("random_walk", False), ("noisy_sine", True)):
        prices = load_sample(sample, length=1500, seed=1)
        study = searched(prices, tiny_space)
        report = make_report(study, prices, sealed=True, top=1)
        assert skill_so_far(study) == report.finding.skill
        assert report.finding.claims_skill == skill
        said = caution(study)
        assert said.startswith(report.verdict.split(".")[0])
        assert "The test is sealed: no study of this storage has opened it." in said
        make_report(study, prices, top=1)
        assert "The test has been opened once" in caution(study)


def test_a_study_without_a_result_has_no_verdict(tiny_space: SearchSpace) -> None:
    study = optuna.create_study()
    with pytest.raises(ConfigError, match="must have a complete trial, but got none"):
        skill_so_far(study)
