"""What a study says of itself at its end."""

import optuna
import pytest

from foretune.datasets import PriceSeries, load_sample
from foretune.datasets.common.errors import ConfigError
from foretune.models import TrialConfig
from foretune.search import (
    SearchSpace,
    StudySummary,
    best_config,
    caveat,
    make_report,
    run_study,
    summary,
    summary_table,
    verdict,
)
from foretune.search.report.evidence import scored_trials
from foretune.search.report.tables import as_text


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
        target="mid",
        workers=1,
    )


def test_the_verdict_so_far_is_the_sealed_reports(tiny_space: SearchSpace) -> None:
    for sample, skill in (("random_walk", False), ("noisy_sine", True)):
        prices = load_sample(sample, length=1500, seed=1)
        study = searched(prices, tiny_space)
        report = make_report(study, prices, sealed=True, top=1)
        so_far = verdict(study)
        # Stored when the study began, and computed again for the report.
        assert so_far == report.finding
        assert (so_far.against["persistence"].p_value < 0.05) == skill
        said = caveat(study)
        assert said.startswith(so_far.on_validation())
        assert "The test is sealed: no study of this storage has opened it." in said
        make_report(study, prices, open_test=True, top=1)
        assert "The test has been opened once" in caveat(study)


def test_a_study_without_a_result_has_no_verdict(tiny_space: SearchSpace) -> None:
    study = optuna.create_study()
    with pytest.raises(ConfigError, match="must have a complete trial, but got none"):
        scored_trials(study)
    with pytest.raises(ConfigError, match="must have a complete trial, but got none"):
        summary(study)


def test_a_summary_says_the_same_as_text_and_in_a_notebook(
    walk: PriceSeries, tiny_space: SearchSpace
) -> None:
    study = searched(walk, tiny_space)
    shown = summary(study)
    text, page = repr(shown), shown._repr_html_()
    assert text == str(shown)
    assert text.startswith(as_text(summary_table(study)))
    config, usual = (c.model_dump(mode="json") for c in (best_config(study), TrialConfig()))
    own = {name: value for name, value in config.items() if value != usual[name]}
    assert own.keys() >= {"units", "unroll_length", "batch_size", "learning_rate"}
    assert not any(f"│ {name} " in text for name in ("warm_up", "averaging", "clip_norm"))
    for name, value in (
        ("best trial", study.best_trial.number),
        ("its relative_mse (validation)", f"{study.best_value:.6f}"),
        ("trials by state", "4 complete"),
        ("head", "recursive"),
        ("everything else", "by default"),
        *own.items(),
    ):
        assert f"│ {name} " in text
        assert f" {value} " in text
        assert f">{name}</th>" in page
        assert f">{value}</td>" in page
    assert caveat(study) in " ".join(text.split())
    said = " ".join(text.split())
    assert "make_report(study) says more and leaves the test sealed" in said
    assert "make_report(study, open_test=True) opens it once" in said
    assert "<p>" in page.split("</table>")[1]
    assert shown.caution == shown.caveat  # its name in the first version


def test_marks_in_names_are_shown_and_not_read() -> None:
    marks = "<b>[red]A&B[/red] :smile: [/]"
    shown = StudySummary(name=marks, result=((marks, marks),), config=(), caveat=marks)
    assert repr(shown).count(marks) == 4
    page = shown._repr_html_()
    assert page.count("&lt;b&gt;[red]A&amp;B[/red] :smile: [/]") == 4
    assert "<b>" not in page
