import optuna
from optuna.trial import Trial

from foretune.search import SearchSpace
from foretune.search.study.samplers import TrialSeededSampler, default_sampler


def stub(trial: Trial) -> float:
    """Stand in for training: cheap, and different for every config."""
    config = SearchSpace().suggest(trial)
    return config.learning_rate + sum(config.units) / config.unroll_length


def params(study: optuna.Study) -> list[dict[str, object]]:
    return [trial.params for trial in study.trials]


def run(*batches: int, seed: int = 0) -> optuna.Study:
    """Run trials in several processes' worth of batches, each with a sampler of its own."""
    storage = optuna.storages.InMemoryStorage()
    for n in batches:
        study = optuna.create_study(
            study_name="s", storage=storage, load_if_exists=True, sampler=TrialSeededSampler(seed)
        )
        study.optimize(stub, n_trials=n)
    return study


def test_interrupted_study_equals_an_uninterrupted_one() -> None:
    assert params(run(7, 9, 4)) == params(run(20))


def test_no_trial_repeats_another() -> None:
    chosen = [tuple(sorted(p.items())) for p in params(run(12, 12))]
    assert len(set(chosen)) == 24


def test_another_seed_chooses_otherwise() -> None:
    assert params(run(5, seed=1)) != params(run(5))


def test_plain_optuna_would_repeat_itself() -> None:
    """The hole that the sampler closes; when this fails, Optuna has closed it itself."""
    storage = optuna.storages.InMemoryStorage()
    for _ in range(2):
        study = optuna.create_study(
            study_name="s", storage=storage, load_if_exists=True, sampler=default_sampler(0)
        )
        study.optimize(stub, n_trials=4)
    assert params(study)[:4] == params(study)[4:]


def test_it_searches_better_than_chance() -> None:
    """After the random start, TPE finds values that random search does not."""
    drawn = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn.optimize(stub, n_trials=40)
    searched = run(40)
    later = sorted(trial.value for trial in searched.trials[20:] if trial.value is not None)
    chance = sorted(trial.value for trial in drawn.trials[20:] if trial.value is not None)
    assert later[10] < chance[10]


def test_samplers_are_let_go() -> None:
    sampler = TrialSeededSampler(0)
    study = optuna.create_study(sampler=sampler)
    study.optimize(stub, n_trials=5)
    assert sampler._samplers == {}
