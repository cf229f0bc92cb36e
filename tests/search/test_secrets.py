"""Canaries: secrets that go through a whole study, its failures too, and must appear nowhere."""

import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from command_line import FORETUNE, ended_at_last, wait_until

from foretune.search import FloatRange, SearchSpace
from foretune.search.storage.artifacts import artifact_names, load_artifact
from foretune.search.storage.connect import load_study
from foretune.search.storage.optuna_internals import storage_of

pytestmark = pytest.mark.slow

PASSWORD = "canarydatabase7261"
WRONG = "canarywrong8812"
KEY = "CANARYKEY5530"
TOKEN = "canarytoken-9047-abcdefghijklmnop"
SECRETS = (PASSWORD, WRONG, KEY, TOKEN)

SMALL = ["--prices", "ar1(length=900, seed=3)", "--horizon", "5", "--study", "s"]


class ProcessList(threading.Thread):
    """Looks at the command line of every process, again and again."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.found: set[str] = set()
        self.seen = 0
        self._stop_it = threading.Event()

    def run(self) -> None:
        while not self._stop_it.wait(0.02):
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = file.read_bytes().decode(errors="replace")
                except OSError:
                    continue
                self.seen += "foretune" in line
                self.found |= {secret for secret in SECRETS if secret in line}

    def end(self) -> None:
        self._stop_it.set()
        self.join()


class Echo(BaseHTTPRequestHandler):
    """The variant of Alpha Vantage's refusal that repeats the key."""

    def do_GET(self) -> None:
        body = json.dumps({"Information": f"the daily limit of your key {KEY} is reached"})
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/query"
    server.shutdown()
    server.server_close()


class Shell:
    """Runs commands as a user would, and keeps all that they say."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = environment
        self.number = 0

    def start(self, *command: str, **more: str) -> subprocess.Popen[bytes]:
        self.number += 1
        log = (self.folder / f"said-{self.number}.log").open("wb")
        process = subprocess.Popen(
            command, cwd=self.folder, env=self.environment | more, stdout=log, stderr=log
        )
        log.close()
        return process

    def run(self, *command: str, **more: str) -> int:
        return self.start(*command, **more).wait(timeout=300)

    def said(self) -> str:
        return "".join(file.read_text() for file in self.folder.glob("said-*.log"))


def occurrences(folder: Path) -> dict[str, list[str]]:
    """Files of a folder in which a secret is, as text or in a database's hexadecimal."""
    found: dict[str, list[str]] = {}
    for file in folder.rglob("*"):
        if not file.is_file():
            continue
        content = file.read_bytes()
        for secret in SECRETS:
            if secret.encode() in content or secret.encode().hex().encode() in content:
                found.setdefault(str(file), []).append(secret)
    return found


def test_the_canaries_are_found_where_they_are(tmp_path: Path) -> None:
    """The search itself can fail."""
    (tmp_path / "a").write_bytes(b"x" + KEY.encode())
    (tmp_path / "b").write_text(PASSWORD.encode().hex())
    assert len(occurrences(tmp_path)) == 2
    looking = ProcessList()
    looking.start()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", TOKEN]) as shows:
        wait_until(lambda: looking.found)
        shows.kill()
    looking.end()
    assert looking.found == {TOKEN}


def test_no_secret_is_said_stored_or_shown(start_postgresql: Any, tmp_path: Path) -> None:
    server = start_postgresql(PASSWORD)
    url = server.url()
    environment = {name: value for name, value in os.environ.items() if "FORETUNE" not in name}
    environment |= {
        "FORETUNE_STORAGE": url,
        "ALPHAVANTAGE_API_KEY": KEY,
        "FORETUNE_DASHBOARD_TOKEN": TOKEN,
        "FORETUNE_CACHE_DIR": str(tmp_path / "cache"),
    }
    shell, looking = Shell(tmp_path, environment), ProcessList()
    looking.start()
    space = SearchSpace(layers=1, units=4, unroll_length=8, batch_size=8, epochs=400)
    space = space.fix(steps_per_epoch=40, stop_patience=400)
    (tmp_path / "space.toml").write_text(space.to_toml())
    wild = space.fix(
        learning_rate=FloatRange(low=9.0, high=10.0), optimizer="sgd_momentum", clip_norm=1e30
    )
    (tmp_path / "wild.toml").write_text(wild.to_toml())
    run = [FORETUNE, "run", *SMALL, "--space", "space.toml", "--trials", "8", "--workers", "2"]

    # 1. A worker is killed, 2. the driver is, 3. the database crashes and comes back.
    driver = shell.start(*run)
    with ended_at_last([driver]):
        wait_until(lambda: "trial 0 complete" in shell.said())
        busiest_worker(driver.pid).kill()
        wait_until(lambda: "the trial continues from its last snapshot" in shell.said())
        driver.kill()
        driver.wait()
    driver = shell.start(*run)
    with ended_at_last([driver]):
        wait_until(lambda: last_log(shell).read_text().count(" complete") >= 1)
        server.kill()
        wait_until(lambda: "cannot be reached" in shell.said())
        server.start()
        assert driver.wait(timeout=300) == 0
    # 4. A wrong password, 5. no database at all, 6. a source that repeats the key.
    assert shell.run(*run, FORETUNE_STORAGE=url.replace(PASSWORD, WRONG)) == 2
    nowhere = url.replace(str(server.port), "1").replace(PASSWORD, WRONG)
    assert shell.run(*run, FORETUNE_STORAGE=nowhere) == 2
    in_query = f"{nowhere.replace(':' + WRONG, '')}?password={WRONG}"
    assert WRONG in in_query
    assert shell.run(*run, FORETUNE_STORAGE=in_query) == 2
    with served(Echo) as address:
        code = "import sys; from foretune.datasets import download_prices; "
        code += "download_prices('AAL', url=sys.argv[1])"
        assert shell.run(sys.executable, "-c", code, address) == 1
    # 7. Trials that fail, 8. a mistake in a file.
    wild_run = [FORETUNE, "run", *SMALL[:-1], "wild", "--space", "wild.toml", "--trials", "2"]
    shell.run(*wild_run)
    assert any("became" in trial.user_attrs["error"] for trial in load_study("wild", url).trials)
    (tmp_path / "bad.toml").write_text("units = 'x'\n")
    assert (
        shell.run(FORETUNE, "run", "--data", "sp500", "--study", "bad", "--space", "bad.toml") == 2
    )
    # What else a user does.
    assert shell.run(FORETUNE, "status", "--study", "s") == 0
    assert shell.run(*run) == 0
    assert shell.run(FORETUNE, "best", "--study", "s") == 0
    assert shell.run(FORETUNE, "report", "--study", "s", "--out", "report") == 0
    assert shell.run(FORETUNE, "fit", "results/s/best.toml", "--out", "model") == 0
    assert shell.run(FORETUNE, "forecast", "model", "--csv", "next.csv") == 0
    visit_dashboard(shell)
    looking.end()

    keep_database(server, tmp_path)
    for name in ("s", "wild"):
        study = load_study(name, url)
        for owner in (study, *study.get_trials()):
            for file in artifact_names(storage_of(study), owner):
                content = load_artifact(storage_of(study), owner, file)
                (tmp_path / f"artifact-{name}-{id(owner)}-{file}").write_bytes(content)
    said = shell.said()
    for words in ("cannot be reached", "is back", "password authentication failed", "***"):
        assert words in said
    assert looking.seen > 100
    assert looking.found == set()
    assert occurrences(tmp_path) == {}


def last_log(shell: Shell) -> Path:
    return shell.folder / f"said-{shell.number}.log"


def busiest_worker(driver: int) -> psutil.Process:
    """Whichever process below the driver has worked most: it trains a trial."""
    below = psutil.Process(driver).children(recursive=True)
    return max(below, key=lambda process: process.cpu_times().user)


def visit_dashboard(shell: Shell) -> None:
    """With no token, a wrong one and the right one."""
    process = shell.start(FORETUNE, "dashboard", "--port", "0")
    log = last_log(shell)
    wait_until(lambda: "http://127.0.0.1:" in log.read_text())
    port = log.read_text().split("http://127.0.0.1:")[1].split("/")[0].split()[0]
    seen = []
    for token in ("", WRONG, TOKEN):
        headers = {"Authorization": f"Bearer {token}"}
        request = urllib.request.Request(f"http://127.0.0.1:{port}/api/studies", headers=headers)
        try:
            with urllib.request.urlopen(request) as answer:
                seen.append(answer.status)
        except urllib.error.HTTPError as refused:
            seen.append(refused.code)
    process.terminate()
    process.wait()
    assert seen == [401, 401, 200]


def keep_database(server: Any, folder: Path) -> None:
    """Write down all that the database holds, users apart."""
    binary = server.program("pg_dump")
    environment = os.environ | {"PGPASSWORD": PASSWORD}
    command = [binary, "-h", "127.0.0.1", "-p", str(server.port), "-U", "foretune", "postgres"]
    dumped = subprocess.run(command, env=environment, check=True, capture_output=True)
    assert b"foretune_spec" in dumped.stdout
    (folder / "dump.sql").write_bytes(dumped.stdout)
