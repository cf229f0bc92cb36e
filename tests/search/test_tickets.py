"""Tickets: exactly as many trials as are wanted, each in one worker's hands."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest
from command_line import wait_until
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.trial import Trial, TrialState

from foretune.datasets import PriceSeries
from foretune.search import SearchSpace, run_study
from foretune.search import watch as watching
from foretune.search.checkpoint_rows import checkpoint_id
from foretune.search.heartbeat import Heartbeat
from foretune.search.join import join_study
from foretune.search.lost_trials import INTERRUPTED, MOST_RETRIES, give_up, release_lost_trials
from foretune.search.process_identity import ProcessIdentity
from foretune.search.storage.artifact_store import artifact_store
from foretune.search.storage.connect import open_storage
from foretune.search.ticket_writes import give_back, start_trial
from foretune.search.tickets import finished_trials, hand_in, take_ticket
from foretune.search.trial_marks import BEAT, OWNER, REPEATS, TICKET, seconds_until_lost
from foretune.search.watch import Watch


class Clock:
    """Seconds that pass when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def study(database_url: str) -> optuna.Study:
    return optuna.create_study(study_name="s", storage=open_storage(database_url))


def take(study: optuna.Study, n_trials: int, watch: Watch | None = None) -> Trial | None:
    return take_ticket(
        "s",
        n_trials,
        study._storage,
        study.sampler,
        study.pruner,
        watch=watch or Watch(),
        beat=10.0,
    )


def taken(study: optuna.Study, n_trials: int, watch: Watch | None = None) -> Trial:
    trial = take(study, n_trials, watch)
    assert trial is not None
    return trial


def owned_by(study: optuna.Study, trial: Trial, process: ProcessIdentity) -> None:
    study._storage.set_trial_system_attr(trial._trial_id, OWNER, list(process))


def states(study: optuna.Study) -> list[TrialState]:
    return [trial.state for trial in study.get_trials(deepcopy=False)]


def elsewhere() -> ProcessIdentity:
    return ProcessIdentity("another machine", 1, "1")


def ended() -> ProcessIdentity:
    """A process of this machine that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return ProcessIdentity.mine()._replace(pid=process.pid)


def test_no_more_are_taken_than_wanted(study: optuna.Study) -> None:
    trials = [taken(study, 3) for _ in range(3)]
    assert [trial.number for trial in trials] == [0, 1, 2]
    assert take(study, 3) is None
    study.tell(trials[0], 1.0)
    study.tell(trials[1], state=TrialState.FAIL)
    assert finished_trials(study) == 1
    assert taken(study, 3).number == 3  # for the one that failed
    assert take(study, 3) is None
    assert taken(study, 4).number == 4  # the study was extended


def test_a_trial_says_from_the_first_how_often_its_worker_beats(study: optuna.Study) -> None:
    """Or one with seldom beats would be taken for lost before its first.

    One with frequent beats has time to ask the sampler.
    """
    args = ("s", 2, study._storage, study.sampler, study.pruner)
    for beat in (600.0, 0.1):
        assert take_ticket(*args, watch=Watch(), beat=beat) is not None
    assert [seconds_until_lost(trial) for trial in study.trials] == [3600.0, 60.0]


def test_what_waits_goes_first(study: optuna.Study) -> None:
    study.enqueue_trial({"x": 0.25})
    trial = taken(study, 2)
    assert trial.suggest_float("x", 0, 1) == 0.25
    assert taken(study, 2).number == 1
    study.enqueue_trial({"x": 0.75})
    assert take(study, 2) is None  # and stays where it is


def test_a_trial_of_the_users_own_program_does_not_count(study: optuna.Study) -> None:
    study.ask()
    assert taken(study, 1).number == 1


def test_a_trial_is_somebodys_from_its_first_moment(study: optuna.Study) -> None:
    """Its state and its marks are one write: nobody sees the one without the other."""
    storage = study._storage
    study.enqueue_trial({})
    (waiting,) = study.trials
    marks = {OWNER: list(ProcessIdentity.mine()), TICKET: "mine"}
    assert start_trial(storage, waiting._trial_id, user={"worker": "me"}, system=marks)
    (running,) = study.trials
    assert running.state == TrialState.RUNNING
    assert running.datetime_start is not None
    assert running.system_attrs.items() >= marks.items()
    # Made again because its answer was lost, it is the same; another's comes too late.
    assert start_trial(storage, waiting._trial_id, user={}, system=marks)
    late = marks | {TICKET: "another's"}
    assert not start_trial(storage, waiting._trial_id, user={"worker": "other"}, system=late)
    assert study.trials[0].system_attrs[TICKET] == "mine"
    # And who was paused for long gives back nothing that is another's.
    give_back(storage, waiting._trial_id, "another's")
    assert states(study) == [TrialState.RUNNING]
    give_back(storage, waiting._trial_id, "mine")
    assert states(study) == [TrialState.WAITING]
    assert taken(study, 1).number == 0
    study._storage.set_trial_state_values(waiting._trial_id, TrialState.COMPLETE, [0.5])
    assert not start_trial(storage, waiting._trial_id, user={}, system=late)


def test_a_trial_that_this_process_left_behind_is_run_again(study: optuna.Study) -> None:
    """As after a full disk, in a notebook that goes on."""
    trial = taken(study, 1)
    trial.suggest_float("x", 0, 1)
    assert take(study, 1) is None  # at work
    hand_in(trial)
    assert taken(study, 1).suggest_float("x", 0, 1) == trial.params["x"]


@pytest.mark.parametrize("interrupted", [0, 1, 2])
def test_a_grid_goes_on_with_the_trial_that_was_interrupted(
    study: optuna.Study, interrupted: int
) -> None:
    points = {0.0, 0.5, 1.0}
    grid = optuna.samplers.GridSampler({"x": list(points)})
    for number in range(4):
        args = ("s", 3, study._storage, grid, study.pruner)
        trial = take_ticket(*args, watch=Watch(), beat=10.0)
        assert trial is not None
        trial.suggest_float("x", 0, 1)
        if number == interrupted:
            give_up(study, trial._trial_id, INTERRUPTED)
        else:
            trial.study.tell(trial, 0.5)
        hand_in(trial)
    done = [t.params["x"] for t in study.trials if t.state == TrialState.COMPLETE]
    assert sorted(done) == sorted(points)


class NoIdea(optuna.samplers.RandomSampler):
    """A sampler that fails when it is asked."""

    error: BaseException

    def before_trial(self, *_: Any) -> None:
        raise self.error


@pytest.mark.parametrize("error", [ValueError("no idea"), KeyboardInterrupt()])
def test_a_ticket_is_let_go_of_when_no_trial_comes_of_it(
    study: optuna.Study, error: BaseException
) -> None:
    sampler = NoIdea()
    sampler.error = error
    study.enqueue_trial({"x": 0.25})
    held = set(watching._held)
    with pytest.raises(type(error)):
        take_ticket("s", 1, study._storage, sampler, study.pruner, watch=Watch(), beat=10.0)
    assert take(study, 0) is None
    assert watching._held == held
    assert states(study) == [TrialState.FAIL]


def test_ctrl_c_while_a_heart_waits_ends_it_without_a_word(study: optuna.Study) -> None:
    def pressed() -> None:
        raise KeyboardInterrupt

    with Heartbeat(study._storage, 0.01, pressed) as heart:
        wait_until(lambda: not heart._thread.is_alive())  # a traceback would be a warning, an error


def test_a_second_repetition_is_dropped(study: optuna.Study) -> None:
    """The answer to a write was lost, and it was made again."""
    trial = taken(study, 3)
    trial.suggest_float("x", 0, 1)
    give_up(study, trial._trial_id, "lost")
    release_lost_trials(study, Watch())
    again = optuna.trial.create_trial(
        state=TrialState.WAITING, system_attrs=study.trials[1].system_attrs
    )
    study.add_trial(again)
    assert [t.system_attrs.get(REPEATS) for t in study.trials] == [None, 0, 0]
    assert taken(study, 3).number == 1
    assert taken(study, 3).number == 3
    assert states(study)[2] == TrialState.FAIL


def test_a_loss_gone_astray_counts_when_it_has_ended(study: optuna.Study) -> None:
    trial = taken(study, 1)
    trial.suggest_float("x", 0, 1)
    trial.set_user_attr("non_finite", True)
    trial.set_user_attr("error", "the loss became inf")
    assert finished_trials(study) == 0
    owned_by(study, trial, ended())
    assert take(study, 1) is None  # found lost, ended, and not run again
    assert states(study) == [TrialState.FAIL]
    assert finished_trials(study) == 1
    assert study.trials[0].user_attrs["error"] == "the loss became inf"


def test_the_trial_of_an_ended_process_is_run_again_at_once(study: optuna.Study) -> None:
    trial = taken(study, 1)
    trial.suggest_float("x", 0, 1)
    owned_by(study, trial, ended())
    again = taken(study, 1)
    assert states(study) == [TrialState.FAIL, TrialState.RUNNING]
    assert again.suggest_float("x", 0, 1) == trial.params["x"]
    assert "was lost" in study.trials[0].user_attrs["error"]
    # Optuna's own way to say the same.
    callback = optuna.storages.RetryHeartbeatStaleTrialCallback
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        first = callback.retried_trial_number(study.trials[1])
    assert first == 0
    assert take(study, 1) is None


def test_a_number_given_again_is_another_process(study: optuna.Study) -> None:
    trial = taken(study, 1)
    owned_by(study, trial, ProcessIdentity.mine()._replace(started="another time"))
    assert taken(study, 1).number == 1


def test_without_params_there_is_nothing_to_run_again(study: optuna.Study) -> None:
    owned_by(study, taken(study, 1), ended())
    assert taken(study, 1).number == 1
    assert states(study) == [TrialState.FAIL, TrialState.RUNNING]


def test_a_known_config_is_not_lost_with_its_first_worker(study: optuna.Study) -> None:
    study.enqueue_trial({"x": 0.25})
    owned_by(study, taken(study, 1), ended())  # killed before it asked for x
    assert taken(study, 1).suggest_float("x", 0, 1) == 0.25


def beat(study: optuna.Study, trial: Trial, count: int, seconds: float = 10.0) -> None:
    study._storage.set_trial_system_attr(trial._trial_id, BEAT, [count, seconds, 0.0])


def silent(study: optuna.Study, watch: Watch, seconds: float = 10.0) -> Trial:
    """A trial of a worker elsewhere, seen for the first time; it beats no more."""
    trial = taken(study, 1)
    owned_by(study, trial, elsewhere())
    beat(study, trial, 1, seconds)
    assert take(study, 1, watch) is None
    return trial


def watched(study: optuna.Study, watch: Watch, clock: Clock, until: float, step: float) -> bool:
    """Whether a trial was taken while ``watch`` looked every ``step`` seconds."""
    while clock.now + step <= until:
        clock.now += step
        if take(study, 1, watch) is not None:
            return True
    return False


def test_a_silent_heart_is_watched_before_it_is_believed(study: optuna.Study) -> None:
    clock = Clock()
    watch = Watch(clock)
    trial = silent(study, watch)
    assert not watched(study, watch, clock, until=59, step=1)
    beat(study, trial, 2)  # slow, but alive
    assert not watched(study, watch, clock, until=119, step=1)
    assert watched(study, watch, clock, until=122, step=1)
    assert states(study) == [TrialState.FAIL, TrialState.RUNNING]


def test_time_that_nobody_watched_does_not_count(study: optuna.Study) -> None:
    """A long trial of the watcher's own, an outage, a machine that slept: a beat each at most."""
    clock = Clock()
    watch = Watch(clock)
    silent(study, watch)
    assert not watched(study, watch, clock, until=6000, step=1000)
    assert watched(study, watch, clock, until=7000, step=1000)


def test_a_worker_says_how_often_it_beats(study: optuna.Study) -> None:
    clock = Clock()
    watch = Watch(clock)
    silent(study, watch, seconds=0.5)
    assert not watched(study, watch, clock, until=3, step=0.25)
    assert watched(study, watch, clock, until=4, step=0.25)


@pytest.mark.parametrize("mark", [None, 7, [], [1, 2], list("abc"), [1, float("inf"), 2], "x"])
def test_an_odd_beat_is_one_of_ten_seconds(study: optuna.Study, mark: Any) -> None:
    clock = Clock()
    watch = Watch(clock)
    trial = taken(study, 1)
    owned_by(study, trial, elsewhere())
    study._storage.set_trial_system_attr(trial._trial_id, BEAT, mark)
    assert take(study, 1, watch) is None
    assert not watched(study, watch, clock, until=60, step=10)
    assert watched(study, watch, clock, until=80, step=10)


def test_a_config_that_kills_is_given_up_with_its_checkpoints(study: optuna.Study) -> None:
    store = artifact_store(study._storage)
    first = taken(study, 1)
    first.suggest_float("x", 0, 1)
    last, checkpoints = first, list[str]()
    for _ in range(MOST_RETRIES + 1):
        assert last.suggest_float("x", 0, 1) == first.params["x"]
        checkpoints.append(checkpoint_id(last._trial_id))
        store.write_all({checkpoints[-1]: b"where it was"})
        for earlier in checkpoints:
            assert store.read(earlier) == b"where it was"
        owned_by(study, last, ended())
        last = taken(study, 1)
    for earlier in checkpoints:
        with pytest.raises(ArtifactNotFound):
            store.read(earlier)
    assert last.suggest_float("x", 0, 1) != first.params["x"]
    assert states(study) == [TrialState.FAIL] * (MOST_RETRIES + 1) + [TrialState.RUNNING]


def test_an_interrupted_config_is_not_given_up(study: optuna.Study) -> None:
    first = taken(study, 1)
    last = first
    for _ in range(2 * MOST_RETRIES):
        last.suggest_float("x", 0, 1)
        give_up(study, last._trial_id, INTERRUPTED)
        last = taken(study, 1)
    assert last.suggest_float("x", 0, 1) == first.params["x"]


def test_what_was_given_up_is_repeated_once(study: optuna.Study) -> None:
    """However often somebody looks, and also when a process was killed between the two writes."""
    trial = taken(study, 1)
    trial.suggest_float("x", 0, 1)
    give_up(study, trial._trial_id, "lost")
    for _ in range(3):
        release_lost_trials(study, Watch())
    assert states(study) == [TrialState.FAIL, TrialState.WAITING]


def test_who_was_taken_for_lost_changes_nothing_any_more(study: optuna.Study) -> None:
    trial = taken(study, 1)
    give_up(study, trial._trial_id, "lost")
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        trial.report(1.0, 1)
    study.tell(trial, 0.5, skip_if_finished=True)
    assert states(study) == [TrialState.FAIL]


def test_a_result_that_came_in_time_stays(study: optuna.Study) -> None:
    trial = taken(study, 1)
    trial.suggest_float("x", 0, 1)
    study.tell(trial, 0.5)
    give_up(study, trial._trial_id, "lost")
    release_lost_trials(study, Watch())
    assert states(study) == [TrialState.COMPLETE]


def test_a_heart_beats_for_running_trials_alone(study: optuna.Study) -> None:
    storage = study._storage
    trial, other = taken(study, 2), taken(study, 2)
    with Heartbeat(storage, 0.02) as heart, heart.beating_for(trial._trial_id):
        wait_until(lambda: storage.get_trial(trial._trial_id).system_attrs.get(BEAT, [0])[0] >= 2)
        study.tell(trial, 1.0)  # must not end the thread
        heart.start(other._trial_id)
        wait_until(lambda: storage.get_trial(other._trial_id).system_attrs[BEAT][1] == 0.02)
        wait_until(lambda: heart._trials == {other._trial_id})


# A program that takes tickets until its study has enough, and prints the numbers of its trials.
TAKE_ALL = """
import sys, optuna
from foretune.search.watch import Watch
from foretune.search.storage.connect import behind_cache, open_storage
from foretune.search.tickets import finished_trials, take_ticket

storage, total, watch = open_storage(sys.argv[1]), int(sys.argv[2]), Watch()
study = optuna.load_study(study_name="s", storage=storage)
optuna.logging.set_verbosity(optuna.logging.ERROR)
print("ready", flush=True)
input()
while finished_trials(study) < total:
    trial = take_ticket("s", total, storage, study.sampler, study.pruner, watch=watch, beat=10.0)
    if trial is not None:
        print(trial.number, flush=True)
        study.tell(trial, trial.suggest_float("x", 0, 1))
"""


@pytest.mark.slow
def test_four_processes_take_two_hundred_tickets_once(
    study: optuna.Study, database_url: str
) -> None:
    assert sorted(taken_by(4, database_url, 200)) == list(range(200))
    assert states(study) == [TrialState.COMPLETE] * 200
    # Launched again, ten times, nothing more is run; extended by three, three more are.
    for _ in range(10):
        assert take(study, 200) is None
    assert sorted(taken_by(4, database_url, 203)) == [200, 201, 202]


def test_two_processes_take_every_ticket_once(study: optuna.Study, database_url: str) -> None:
    assert sorted(taken_by(2, database_url, 20)) == list(range(20))


def taken_by(processes: int, url: str, total: int) -> list[int]:
    """The numbers of the trials that some processes take, until ``total`` have finished."""
    team = [
        subprocess.Popen(
            [sys.executable, "-c", TAKE_ALL, url, str(total)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(processes)
    ]
    # None shall have finished before another has begun.
    for process in team:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in team:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    numbers = [int(number) for process in team for number in process.communicate()[0].split()]
    assert [process.returncode for process in team] == [0] * processes
    return numbers


def test_a_process_is_told_from_all_others() -> None:
    mine = ProcessIdentity.mine()
    assert ProcessIdentity.read(list(mine)) == mine
    assert not mine.is_gone()
    assert ended().is_gone()
    assert not elsewhere().is_gone()  # nobody can tell from here
    for odd in (None, [], ["m", "1", "2"], "m", ["m", 1, "2", 3]):
        assert ProcessIdentity.read(odd) is None


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs Linux's /proc")
def test_a_killed_child_that_nobody_waited_for_is_gone() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    identity = ProcessIdentity.mine()._replace(
        pid=process.pid,
        started=Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19],
    )
    assert not identity.is_gone()
    os.kill(process.pid, signal.SIGKILL)
    wait_until(identity.is_gone)
    process.wait()


# A program that holds the lock of a study until it is told to let go.
HOLD = """
import sys
from foretune.search.storage.connect import open_storage
from foretune.search.study_lock import study_lock

storage = open_storage(sys.argv[1])
with study_lock(storage, storage.get_study_id_from_name("s")):
    print("held", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def holding_the_lock(url: str) -> Iterator[subprocess.Popen[str]]:
    """Another process holds the study's lock, until it is sent a line or to the end."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder


def test_a_lock_that_another_holds_is_waited_for_and_spoken_of(
    study: optuna.Study,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("foretune.search.study_lock._WORTH_A_WORD", 0)
    monkeypatch.setattr("foretune.search.study_lock._WAIT", 50)
    with holding_the_lock(database_url) as holder:
        waited = []

        def heed() -> None:
            waited.append(1)
            if len(waited) == 2:
                holder.communicate("\n")

        study._storage = open_storage(database_url, heed=heed)
        assert taken(study, 1).number == 0
    assert len(waited) == 2
    said = capsys.readouterr().err
    assert said.count("another process holds") == 1
    assert "cannot be reached" not in said


def test_who_is_interrupted_does_not_wait_for_the_lock(
    database_url: str, walk: PriceSeries, tiny_space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not to write the study's note either, and says how to go on as ever."""
    study = run_study(
        "s", walk, n_trials=1, space=tiny_space, horizon=5, storage=database_url, workers=0
    )
    with ExitStack() as stack:

        def epoch(*_: object) -> None:
            stack.enter_context(holding_the_lock(database_url))
            signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr("foretune.search.progress.Bar.epoch", epoch)
        join_study("s", database_url)
    (trial,) = study.trials
    assert (trial.state, trial.user_attrs["error"]) == (TrialState.FAIL, INTERRUPTED)
