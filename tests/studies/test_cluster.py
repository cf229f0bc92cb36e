"""The templates of studies/cluster: they are valid, and what they call is what foretune offers."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from benchmarks import database_load
from command_line import wait_until, write_prices
from optuna.trial import TrialState
from postgresql_server import PostgreSQL

from foretune.datasets import load_sample
from foretune.search import SearchSpace, load_study, run_study
from foretune.search.cli import cli
from foretune.search.tickets import finished_trials, is_under_way

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "studies" / "cluster"
SLURM = CLUSTER / "slurm.sh"
PROGRAMS = Path(sys.executable).parent
PASSWORD = "clusterpassword5518"
TOKEN = "cluster-token-0123456789"

# The templates' variables, as a user sets them.
GIVEN = {
    "STUDY": "acme",
    "PRICES": "acme.csv",
    "TRIALS": "6",
    "FORETUNE_DATABASE_PASSWORD": PASSWORD,
    "FORETUNE_DASHBOARD_TOKEN": TOKEN,
}


def interpolated(value: Any, given: dict[str, str]) -> Any:
    """Put in variables as compose does: into values, once they are read."""
    if isinstance(value, dict):
        return {name: interpolated(each, given) for name, each in value.items()}
    if isinstance(value, list):
        return [interpolated(each, given) for each in value]

    def put_in(match: re.Match[str]) -> str:
        name, kind, other = match[1], match[2], match[3]
        assert kind == ":-" or name in given, f"{name}: {other}"
        return given.get(name, other)

    if not isinstance(value, str):
        return value
    return re.sub(r"\$\{(\w+)(:-|:\?)([^}]*)\}", put_in, value)


def services(given: dict[str, str] = GIVEN) -> dict[str, Any]:
    compose = yaml.safe_load((CLUSTER / "compose.yaml").read_text())
    found: dict[str, Any] = interpolated(compose["services"], given)
    return found


def jobs() -> dict[str, dict[str, Any]]:
    documents = yaml.safe_load_all((CLUSTER / "job.yaml").read_text())
    return {document["metadata"]["name"]: document for document in documents}


def pods() -> dict[str, dict[str, Any]]:
    return {name: job["spec"]["template"]["spec"] for name, job in jobs().items()}


PAGES = sorted(CLUSTER.glob("*.md"))


def shell_blocks(page: Path) -> list[str]:
    return re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def commands() -> dict[str, list[str]]:
    """Every `foretune ...` of the templates, by where it stands."""
    found = {
        f"compose.yaml: {name}": shlex.split(service["command"])
        for name, service in services().items()
        if service["image"] == "foretune"
    }
    found |= {f"job.yaml: {name}": pod["containers"][0]["args"] for name, pod in pods().items()}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = "".join(shell_blocks(page)).replace("\\\n", " ")
        lines = re.findall(r"^(?:.* )?foretune [a-z].*$", blocks, re.MULTILINE)
        for line in [*lines, *re.findall(r"`([^`\n]*)`", text)]:
            words = shlex.split(line, comments=True)
            # `foretune worker` alone is a name in a sentence.
            if "foretune" in words[:-2] and words[0] != "docker":
                found[f"{page.name}: {' '.join(words)}"] = words[words.index("foretune") :]
    return found


COMMANDS = commands()


def require_understood(words: list[str]) -> None:
    """Parse a command line with the real command, without running it."""
    assert words[0] == "foretune"
    with click.Context(cli) as context:
        command = cli.get_command(context, words[1])
        assert command is not None, words[1]
        command.make_context(words[1], words[2:], parent=context)


@pytest.mark.parametrize("place", COMMANDS)
def test_the_commands_are_those_that_foretune_has(place: str) -> None:
    require_understood(COMMANDS[place])


def test_a_command_that_foretune_has_not_is_found_out() -> None:
    for words in (["wait"], ["worker"], ["worker", "--study", "acme", "--replicas", "2"]):
        with pytest.raises((AssertionError, click.ClickException)):
            require_understood(["foretune", *words])


def test_all_templates_are_looked_at() -> None:
    places = [place.partition(":")[0] for place in COMMANDS]
    assert places.count("compose.yaml") == 4
    assert places.count("job.yaml") == 3
    assert places.count("README.md") >= 7
    assert {words[1] for words in COMMANDS.values()} == {"run", "worker", "status", "dashboard"}
    assert {file.name for file in CLUSTER.iterdir() if file.is_file()} == {
        *("Dockerfile", "README.md", "compose.yaml", "job.yaml", "sizing.md", "slurm.sh")
    }


def test_the_studies_are_only_made_where_workers_are_elsewhere() -> None:
    made = [words for words in COMMANDS.values() if words[1] == "run"]
    assert len(made) >= 4
    for words in made:
        assert words[words.index("--workers") + 1] == "0"
        assert "--trials" in words


def test_what_a_reader_types_is_shell() -> None:
    blocks = [block for page in PAGES for block in shell_blocks(page)]
    assert len(blocks) >= 5
    for block in blocks:
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)


def test_the_script_is_sound_shell() -> None:
    subprocess.run(["bash", "-n", str(SLURM)], check=True)
    assert os.access(SLURM, os.X_OK)
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    checked = subprocess.run(["shellcheck", str(SLURM)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_the_script_asks_for_one_core_and_time_to_end() -> None:
    asked = dict(
        line.removeprefix("#SBATCH --").partition("=")[::2]
        for line in SLURM.read_text().splitlines()
        if line.startswith("#SBATCH")
    )
    assert (asked["ntasks"], asked["cpus-per-task"]) == ("1", "1")
    assert "requeue" in asked
    assert re.fullmatch(r"B:USR1@\d{2,}", asked["signal"])
    assert "array" in asked


def test_no_secret_is_written_down() -> None:
    text = (CLUSTER / "compose.yaml").read_text()
    for name, service in yaml.safe_load(text)["services"].items():
        for variable, value in service["environment"].items():
            if re.search("PASSWORD|TOKEN", variable):
                assert re.match(r"\$\{\w+:\?", value), (name, variable)
    for file in CLUSTER.iterdir():
        written = file.read_text(encoding="utf-8")
        assert not re.search(r"postgresql(\+\w+)?://\w+:[^@\s`]+@", written), file
        assert "--storage" not in written, file
    for pod in pods().values():
        (container,) = pod["containers"]
        assert container["envFrom"] == [{"secretRef": {"name": "foretune-database"}}]
        assert all("value" not in variable for variable in container.get("env", []))


def test_nobody_else_reaches_the_dashboard() -> None:
    assert services()["dashboard"]["ports"] == ["127.0.0.1:8080:8080"]
    assert "ports" not in services()["database"]
    assert "--host" not in pods()["foretune-dashboard"]["containers"][0]["args"]
    for service in services({**GIVEN, "FORETUNE_DASHBOARD_TOKEN": "x"}).values():
        token = service["environment"].get("FORETUNE_DASHBOARD_TOKEN")
        assert token == ("x" if "dashboard" in service.get("command", "") else None)


def test_compose_waits_for_the_database_and_for_the_study() -> None:
    healthy = {"database": {"condition": "service_healthy"}}
    made = {"study": {"condition": "service_completed_successfully"}}
    found = services({**GIVEN, "WORKERS": "7"})
    assert "test" in found["database"]["healthcheck"]
    assert found["database"]["volumes"] == ["database:/var/lib/postgresql/data"]
    assert found["study"]["depends_on"] == healthy
    assert found["worker"]["depends_on"] == found["dashboard"]["depends_on"] == made
    assert found["worker"]["deploy"]["replicas"] == "7"
    with pytest.raises(AssertionError, match="must be set"):
        services({})


def dockerfile() -> str:
    return (CLUSTER / "Dockerfile").read_text().replace("\\\n", " ")


def test_the_image_holds_every_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    folders = set(project["tool"]["setuptools"]["package-dir"].values())
    copied = {
        words
        for line in re.findall(r"^COPY (.*) \S+$", dockerfile(), re.M)
        for words in line.split()
    }
    assert folders | {"pyproject.toml", project["project"]["readme"], "LICENSE"} == copied


def test_containers_are_no_root_and_write_where_they_may() -> None:
    image = dockerfile()
    user = re.search(r"^USER (\d+):(\d+)$", image, re.M)
    assert user
    assert 'ENTRYPOINT ["tini", "--"]' in image
    cache = re.search(r"FORETUNE_CACHE_DIR=(\S+)", image)
    assert cache
    for name, service in services().items():
        if name != "database":
            assert service["read_only"] is True
            assert service["tmpfs"] == ["/tmp"]
            assert f"cache:{cache[1]}" in service["volumes"]
            assert "entrypoint" not in service
    for pod in pods().values():
        (container,) = pod["containers"]
        assert "command" not in container  # it would put tini aside
        security = pod["securityContext"]
        assert (str(security["runAsUser"]), security["runAsNonRoot"]) == (user[1], True)
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
        assert "/tmp" in mounts
        assert {mount["name"] for mount in mounts.values()} == {v["name"] for v in pod["volumes"]}
        if container["args"][1] in ("run", "worker"):
            assert cache[1] in mounts
            assert mounts["/prices"]["readOnly"] is True
            assert "WORKDIR /prices" in image


def test_the_workers_job_makes_up_for_what_goes_away() -> None:
    spec = jobs()["foretune-workers"]["spec"]
    assert spec["completionMode"] == "Indexed"
    assert spec["parallelism"] == spec["completions"]
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "Never"  # which podFailurePolicy asks for
    assert pod["terminationGracePeriodSeconds"] >= 60
    assert pod["containers"][0]["resources"]["requests"]["cpu"] == "1"
    actions = {
        code: rule["action"]
        for rule in spec["podFailurePolicy"]["rules"]
        for code in rule.get("onExitCodes", {}).get("values", [])
    }
    assert actions == {130: "Ignore", 2: "FailJob"}
    for name, job in jobs().items():
        assert job["metadata"]["labels"]["step"] in name or "dashboard" in name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with prices, as a container's or a user's."""
    (tmp_path / "work").mkdir()
    write_prices(tmp_path / "work" / "acme.csv", 1500)
    return tmp_path / "work"


@pytest.fixture
def server(start_postgresql: Callable[[str | None], PostgreSQL]) -> PostgreSQL:
    """A server that asks for a password."""
    return start_postgresql(PASSWORD)


@pytest.fixture
def database(server: PostgreSQL, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty database, without the password that it asks for."""
    monkeypatch.setenv("PGPASSWORD", PASSWORD)  # for this process
    return server.new_database().replace(f":{PASSWORD}@", "@")


def bare() -> dict[str, str]:
    """This process's environment without what the templates set."""
    unset = ("FORETUNE_", "PG", "STUDY", "PRICES", "TRIALS", "VENV", "TZ")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unset)}
    return kept | {"PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"}


def composed(name: str, database: str) -> tuple[list[str], dict[str, str]]:
    """A service's command and environment, with the database at another address."""
    service = services()[name]
    stands_for = service["environment"]["FORETUNE_STORAGE"]
    assert re.fullmatch(r"postgresql\+psycopg://foretune@database/studies", stands_for)
    environment = bare() | service["environment"] | {"FORETUNE_STORAGE": database, "TZ": "UTC"}
    return shlex.split(service["command"]), environment


@contextmanager
def slurm_task(
    database: str, folder: Path, *, prices: str | None = "acme.csv"
) -> Iterator[subprocess.Popen[str]]:
    """The script as a task of SLURM, whose `scontrol` notes what it is told."""
    programs = folder.parent / "slurm"
    programs.mkdir(exist_ok=True)
    (programs / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {programs}/told\n')
    (programs / "scontrol").chmod(0o755)
    address = re.search(r"@([\d.]+):(\d+)/(\w+)$", database)
    assert address
    (programs / "pgpass").write_text(f"{address[1]}:{address[2]}:*:foretune:{PASSWORD}\n")
    (programs / "pgpass").chmod(0o600)
    environment = bare() | {
        "FORETUNE_STORAGE": database,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PGPASSFILE": str(programs / "pgpass"),
        "SLURM_JOB_ID": "4711",
        "STUDY": "acme",
        "VENV": str(PROGRAMS.parent),
    }
    if prices is not None:
        environment["PRICES"] = prices
    process = subprocess.Popen(
        ["bash", str(SLURM)],
        env=environment,
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def told(folder: Path) -> str:
    file = folder.parent / "slurm" / "told"
    return file.read_text() if file.exists() else ""


@pytest.mark.slow
def test_the_templates_search_a_study(database: str, folder: Path) -> None:
    def ran(name: str) -> str:
        command, environment = composed(name, database)
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "wants 6 trials and has 0" in ran("study")
    command, environment = composed("worker", database)
    with slurm_task(database, folder) as task:
        output = subprocess.PIPE
        with subprocess.Popen(command, env=environment, cwd=folder, stderr=output) as worker:
            said, _ = task.communicate(timeout=500)
            worker.communicate(timeout=100)
    assert (task.returncode, worker.returncode) == (0, 0), said
    assert "study acme has 6 of 6 trials" in said
    study = load_study("acme", database)
    assert finished_trials(study) == 6
    states = {trial.state for trial in study.trials}
    assert states <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert len({trial.user_attrs["worker"] for trial in study.trials}) == 2
    assert re.search(r"finished\W+6 of 6", ran("status"))
    assert "wants 6 trials and has 6" in ran("study")  # as at a second `up`
    assert told(folder) == ""
    assert {file.name for file in folder.iterdir()} == {"acme.csv"}


@pytest.mark.slow
def test_the_dashboard_of_the_templates_asks_for_its_token(database: str, folder: Path) -> None:
    command, environment = composed("study", database)
    subprocess.run(command, env=environment, cwd=folder, check=True, capture_output=True)
    command, environment = composed("dashboard", database)
    assert environment["FORETUNE_DASHBOARD_TOKEN"] == TOKEN
    output = subprocess.PIPE
    with subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", "0"],
        env=environment, cwd=folder, stdout=output, stderr=subprocess.STDOUT,
    ) as dashboard:  # fmt: skip
        try:
            assert dashboard.stdout is not None
            said = dashboard.stdout.readline().decode()
            port = re.search(r"The dashboard is at http://127.0.0.1:(\d+)/", said)
            assert port is not None, said
            address = f"http://127.0.0.1:{port[1]}/api/studies"
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(address, timeout=60)
            refused.value.close()
            assert refused.value.code in (401, 403)
            request = urllib.request.Request(address, headers={"Authorization": f"Bearer {TOKEN}"})
            with urllib.request.urlopen(request, timeout=60) as answer:
                assert "acme" in json.dumps(json.load(answer))
        finally:
            dashboard.terminate()


@pytest.fixture
def long_study(database: str) -> str:
    """The URL of a study whose one trial takes minutes."""
    space = SearchSpace(
        layers=1, units=8, unroll_length=16, batch_size=16, epochs=5000, steps_per_epoch=100
    ).fix(stop_patience=5000)
    prices = load_sample("random_walk", length=500, seed=3)
    run_study("acme", prices, n_trials=1, space=space, horizon=5, storage=database, workers=0)
    return database


def wait_for_a_trial(url: str) -> None:
    """Wait until a trial has ended an epoch."""
    study = load_study("acme", url)
    wait_until(
        lambda: any(is_under_way(t) and t.intermediate_values for t in study.get_trials()), 300
    )


@pytest.mark.slow
@pytest.mark.parametrize("why", ["time is up", "cancelled"])
def test_a_task_that_is_told_to_end_leaves_its_trial_to_others(
    why: str, long_study: str, folder: Path
) -> None:
    with slurm_task(long_study, folder, prices=None) as task:
        wait_for_a_trial(long_study)
        if why == "time is up":
            os.kill(task.pid, signal.SIGUSR1)  # B: the script alone
        else:
            os.killpg(task.pid, signal.SIGTERM)
        said, _ = task.communicate(timeout=120)
    assert task.returncode == 130, said
    assert said.count("Stopping after this epoch") == 1
    assert "Traceback" not in said
    assert told(folder) == ("requeue 4711\n" if why == "time is up" else "")
    trial = load_study("acme", long_study).trials[0]
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs["error"] == "interrupted"


def test_the_numbers_are_those_that_were_measured() -> None:
    shown = (CLUSTER / "sizing.md").read_text(encoding="utf-8")
    measured = json.loads(database_load.RESULTS.read_text())
    found = database_load.tables(measured)
    assert len(found) == 4
    for table in found:
        assert table in shown
