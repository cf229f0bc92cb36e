"""Throw-away PostgreSQL servers and databases, for every test that needs one."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


class PostgreSQL:
    """A throw-away PostgreSQL server on 127.0.0.1, run by another user where this one is root."""

    def __init__(
        self, binaries: Path, folder: Path, password: str | None = None, settings: str = ""
    ) -> None:
        self._binaries = binaries
        self._settings = settings
        self._data = folder / "data"
        self._folder = folder
        self._prefix: list[str] = []
        if os.getuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(folder, user.pw_uid, user.pw_gid)
            self._prefix = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        arguments = ["-D", str(self._data), "-U", "foretune", "-A", "trust", "--no-sync"]
        if password is not None:
            file = folder / "password"
            file.write_text(password)
            file.chmod(0o644)
            arguments[5] = "scram-sha-256"
            arguments.append(f"--pwfile={file}")
        self._run("initdb", *arguments)
        self._authority = "foretune" + ("" if password is None else f":{password}")
        self.port = free_port()
        self._addresses = "127.0.0.1"
        self.start()

    def url(self, database: str = "postgres") -> str:
        """The URL of a database of this server."""
        return f"postgresql+psycopg://{self._authority}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Make an empty database; returns its URL."""
        import psycopg

        name = f"studies_{time.monotonic_ns()}"
        plain = self.url().replace("+psycopg", "")
        with psycopg.connect(plain, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def start(self) -> None:
        """Start, also after a kill: what the killed server left has to go away first."""
        options = (
            f"-p {self.port} -k {self._folder} -c listen_addresses={self._addresses} -c fsync=off"
            f" {self._settings}"
        )
        log = str(self._folder / "log")
        for _ in range(60):
            try:
                return self._run(
                    "pg_ctl", "start", "-w", "-D", str(self._data), "-l", log, "-o", options
                )
            except subprocess.CalledProcessError:
                time.sleep(0.25)
        raise AssertionError(Path(log).read_text()[-2000:])

    def kill(self) -> None:
        """End the server as a crash does."""
        pid = int((self._data / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)

    def listen_everywhere(self) -> None:
        """Serve other machines too: those that a test has made."""
        with (self._data / "pg_hba.conf").open("a") as file:
            file.write("host all all 10.213.0.0/16 trust\n")
        self.kill()
        self._addresses = "'*'"
        self.start()

    def stop(self) -> None:
        """Stop the server and take its folder away."""
        subprocess.run(
            [
                *(*self._prefix, str(self._binaries / "pg_ctl")),
                *("stop", "-m", "immediate", "-D", str(self._data)),
            ],
            check=False,
            capture_output=True,
        )
        shutil.rmtree(self._folder, ignore_errors=True)

    def program(self, name: str) -> str:
        """The path of one of PostgreSQL's programs."""
        return str(self._binaries / name)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [*self._prefix, str(self._binaries / program), *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
        )


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def postgresql_binaries() -> Path:
    """The folder of PostgreSQL's programs, or a skipped test that says what is missing."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    found = [folder for folder in debian[::-1] if (folder / "initdb").exists()]
    if initdb := shutil.which("initdb"):
        found.append(Path(initdb).parent)
    if not found:
        pytest.skip("PostgreSQL is not installed: no initdb (Debian's package is postgresql)")
    if os.getuid() == 0 and "postgres" not in {entry.pw_name for entry in pwd.getpwall()}:
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    return found[0]


def new_server(password: str | None = None, settings: str = "") -> PostgreSQL:
    """Start a throw-away server; the caller stops it. ``settings`` are options of `postgres`."""
    folder = Path(tempfile.mkdtemp(prefix="foretune-postgresql-"))
    return PostgreSQL(postgresql_binaries(), folder, password, settings)


@pytest.fixture
def start_postgresql() -> Iterator[Callable[[str | None], PostgreSQL]]:
    """Starts a server with a password, which is stopped at the end."""
    servers = []

    def start(password: str | None) -> PostgreSQL:
        servers.append(new_server(password))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """One server for all tests that do not hurt it."""
    server = new_server()
    yield server
    server.stop()


@pytest.fixture
def new_postgresql() -> Iterator[PostgreSQL]:
    """A server that a test may kill."""
    server = new_server()
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'studies.db'}"
        return
    server: PostgreSQL = request.getfixturevalue("postgresql")
    yield server.new_database()
