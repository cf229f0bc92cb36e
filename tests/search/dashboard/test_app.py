"""The guard, called as WSGI around the real dashboard; the server, as a process of its own."""

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from wsgiref.types import WSGIApplication
from wsgiref.validate import validator

import optuna
import optuna_dashboard
import pytest
from command_line import FORETUNE
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.storages import InMemoryStorage
from optuna_dashboard.artifact import get_artifact_path

from foretune.datasets.common.errors import ConfigError
from foretune.search.cli.main import main
from foretune.search.dashboard import app as dashboard
from foretune.search.dashboard.app import TOKEN_VARIABLE, ArtifactsToRead, dashboard_app, serve
from foretune.search.dashboard.guard import guarded
from foretune.search.storage.artifact_store import artifact_store
from foretune.search.storage.artifacts import save_artifacts
from foretune.search.storage.connect import open_storage

HOST = "127.0.0.1:8080"
TOKEN = "correct-horse.battery_staple~1"
PAGE = "<script>document.title = 'it ran'</script>"


@dataclass
class Place:
    """A database with one study, one trial that runs, and an HTML page that the trial left."""

    file: Path
    page: str  # its path in the dashboard
    path: str = "/api/studies/1"

    @property
    def url(self) -> str:
        return f"sqlite:///{self.file}"

    @property
    def app(self) -> Any:
        """The dashboard without a guard."""
        storage = open_storage(self.url)
        return optuna_dashboard.wsgi(storage, artifact_store=artifact_store(storage))

    def exists(self) -> bool:
        return "s" in optuna.get_all_study_names(storage=open_storage(self.url))

    def digest(self) -> str:
        return hashlib.sha256(self.file.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Place:
    file = tmp_path_factory.mktemp("original") / "s.db"
    study = optuna.create_study(study_name="s", storage=open_storage(f"sqlite:///{file}"))
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    (page,) = save_artifacts(trial.storage, trial, {"page.html": PAGE})
    return Place(file, get_artifact_path(trial, page))


@pytest.fixture
def place(original: Place, tmp_path: Path) -> Place:
    file = Path(shutil.copy(original.file, tmp_path))
    return replace(original, file=file)


@dataclass
class Reply:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def one(self, name: str) -> str:
        (value,) = self.all(name)
        return value


def ask(
    app: WSGIApplication,
    path: str,
    method: str = "GET",
    *,
    query: str = "",
    body: bytes = b"{}",
    **headers: str | None,
) -> Reply:
    """Ask a WSGI application as a server does that got this request; ``Host`` is ours."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SCRIPT_NAME": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8080",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in ({"host": HOST} | headers).items():
        if value is not None:
            environ[f"HTTP_{name.upper()}"] = value
    answer: list[Any] = []

    def start_response(status: str, found: list[tuple[str, str]], error: Any = None) -> Any:
        answer[:] = [int(status.split()[0]), found]
        return lambda _: None

    parts = app(environ, start_response)
    content = b"".join(parts)
    if hasattr(parts, "close"):
        parts.close()
    return Reply(answer[0], answer[1], content)


def ours(place: Place, **rules: Any) -> WSGIApplication:
    return guarded(place.app, hosts=[HOST], **rules)


FOREIGN_HOSTS = [
    "evil.example",
    "evil.example:8080",
    "127.0.0.1",
    "127.0.0.1:8081",
    "127.0.0.1:8080.evil.example",
    "127.0.0.1:8080,evil.example",
    " 127.0.0.1:8080",
    "",
    None,
]


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_a_foreign_name_is_refused(place: Place, host: str | None) -> None:
    app = ours(place)
    for path in ("/dashboard", "/api/studies", place.page, "/static/bundle.js"):
        assert ask(app, path, host=host).status == 421
    assert ask(app, place.path, "DELETE", host=host).status == 421
    assert place.exists()
    assert ask(place.app, "/api/studies", host=host).status == 200  # the dashboard itself


def test_our_own_names_are_answered_in_any_case(place: Place) -> None:
    app = guarded(place.app, hosts=["LocalHost:8080", HOST])
    for host in ("localhost:8080", "LOCALHOST:8080", HOST):
        assert ask(app, "/api/studies", host=host).status == 200


WITHOUT_THE_TOKEN: list[dict[str, str]] = [
    {},
    {"query": "token="},
    {"query": "token=" + TOKEN[:-1]},
    {"query": f"token={TOKEN}&token=other"},
    {"query": "Token=" + TOKEN},
    {"authorization": TOKEN},
    {"authorization": f"Bearer {TOKEN}x"},
    {"authorization": "Bearer "},
    {"authorization": "Bearer gr\xf6\xdfe \ud800"},
    {"authorization": f"Basic {TOKEN}"},
    {"cookie": f"token={TOKEN}"},
    {"cookie": "foretune-=; foretune-00000000=0"},
]


@pytest.mark.parametrize("brought", WITHOUT_THE_TOKEN)
def test_without_the_token_nothing_is_shown(place: Place, brought: dict[str, Any]) -> None:
    app = ours(place, token=TOKEN)
    for path in ("/", "/dashboard", "/api/studies", place.page, "/static/bundle.js"):
        reply = ask(app, path, **brought)
        assert (reply.status, reply.all("Set-Cookie")) == (401, [])
        assert reply.one("WWW-Authenticate").startswith("Bearer")
        assert TOKEN.encode() not in reply.body
    assert ask(app, place.path, "DELETE", **brought).status == 401
    assert place.exists()
    assert ask(ours(place), "/api/studies", **brought).status == 200  # where none is wanted


def test_the_token_in_the_address_becomes_a_cookie(place: Place) -> None:
    app = ours(place, token=TOKEN)
    reply = ask(app, "/dashboard/studies/1", query=f"numbers=3&token={TOKEN}&b=%C3%B6")
    assert reply.status == 303
    assert reply.one("Location") == "/dashboard/studies/1?numbers=3&b=%C3%B6"
    cookie, *attributes = reply.one("Set-Cookie").split("; ")
    assert set(attributes) == {"HttpOnly", "SameSite=Strict", "Path=/"}
    assert TOKEN not in str(reply)
    assert ask(app, "/api/studies", cookie=cookie).status == 200
    assert ask(app, "/api/studies", cookie=f"a=b; {cookie};c=d").status == 200
    for wrong in (cookie[:-1], cookie + "0", cookie.split("=")[0] + "="):
        assert ask(app, "/api/studies", cookie=wrong).status == 401
    # That of another dashboard on this host has another name, so that both are kept.
    other = ask(ours(place, token=TOKEN + "2"), "/", query=f"token={TOKEN}2").one("Set-Cookie")
    assert other.split("=")[0] != cookie.split("=")[0]
    assert ask(app, "/api/studies", cookie=other).status == 401


def test_the_token_as_a_header(place: Place) -> None:
    app = ours(place, token=TOKEN)
    reply = ask(app, "/api/studies", authorization=f"Bearer {TOKEN}")
    assert (reply.status, reply.all("Set-Cookie")) == (200, [])
    assert ask(app, place.path, "DELETE", authorization=f"Bearer {TOKEN}").status == 204
    assert not place.exists()


def test_a_write_brings_its_token_in_no_address(place: Place) -> None:
    query = f"token={TOKEN}"
    assert ask(ours(place, token=TOKEN), place.path, "DELETE", query=query).status == 401


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/", "/"),
        ("//evil.example/", "/evil.example/"),
        ("/\\evil.example", "/%5Cevil.example"),
        ("/a\r\nX: y", "/a%0D%0AX%3A%20y"),
        ("/\xc3\xb6", "/%C3%B6"),
        ("", "/"),
    ],
)
def test_the_address_without_the_token_is_on_this_host(
    place: Place, path: str, location: str
) -> None:
    reply = ask(ours(place, token=TOKEN), path, query=f"token={TOKEN}")
    assert (reply.status, reply.one("Location")) == (303, location)


FOREIGN_ORIGINS = [
    "http://evil.example",
    "http://127.0.0.1:8081",
    "http://localhost:8080",
    "http://127.0.0.1",
    "http://127.0.0.1:8080.evil.example",
    "file://127.0.0.1:8080",
    "null",
    "",
]


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
def test_a_write_from_another_origin_is_refused(place: Place, origin: str) -> None:
    app = ours(place)
    for method in ("POST", "PUT", "DELETE", "PATCH", "delete"):
        assert ask(app, place.path, method, origin=origin).status == 403
    assert place.exists()


@pytest.mark.parametrize("origin", ["http://evil.example", "null"])
def test_the_dashboard_itself_takes_such_a_write(place: Place, origin: str) -> None:
    assert ask(place.app, place.path, "DELETE", origin=origin).status == 204
    assert not place.exists()


@pytest.mark.parametrize("origin", [f"http://{HOST}", f"https://{HOST}", f"HTTP://{HOST}", None])
def test_our_own_pages_write(place: Place, origin: str | None) -> None:
    assert ask(ours(place), place.path, "DELETE", origin=origin).status == 204
    assert not place.exists()


def requests_of(place: Place) -> list[tuple[str, str]]:
    """Return method and path of everything the dashboard serves, with numbers that exist."""
    page = place.page.split("/")[-1]
    fill = {"study_id:int": "1", "trial_id:int": "1", "plot_type": "slice", "filename:path": "a"}
    routes = []
    for route in place.app.routes:
        rule = re.sub(r"<artifact_id:re:[^>]*>", page, route.rule).replace("<:re:(/.*)?>", "")
        routes.append((route.method, re.sub("<(.*?)>", lambda m: fill.get(m[1], "1"), rule)))
    return routes


def test_read_only_refuses_every_write_that_the_dashboard_knows(place: Place) -> None:
    before = place.digest()
    app = ours(place, read_only=True)
    writes = [request for request in requests_of(place) if request[0] != "GET"]
    assert len(writes) > 15
    for method, path in writes:
        for spelt in (method, method.lower()):
            reply = ask(app, path, spelt, origin=f"http://{HOST}")
            assert (reply.status, reply.one("Allow")) == (405, "GET, HEAD")
    for method in ("PATCH", "OPTIONS", "TRACE", "CONNECT", "PROXY", "ANY", "get", ""):
        assert ask(app, place.path, method).status == 405
    assert place.digest() == before
    assert ask(ours(place), place.path, "DELETE").status == 204
    assert place.digest() != before


def test_reading_changes_no_byte(place: Place) -> None:
    """What GET answers is taken on trust by the read-only rule; here it is looked at."""
    before = place.digest()
    storage = open_storage(place.url)
    dashboard = optuna_dashboard.wsgi(storage, artifact_store=ArtifactsToRead(storage))
    app = guarded(dashboard, hosts=[HOST], read_only=True)
    reads = [path for method, path in requests_of(place) if method == "GET"]
    answers = {
        ask(app, path, method, accept_encoding="gzip").status
        for path in reads
        for method in ("GET", "HEAD")
    }
    assert answers <= {200, 302, 303, 404, 500}  # 500: there are no plots without plotly
    assert ask(app, place.page).body == PAGE.encode()
    assert place.digest() == before


def test_read_only_does_not_even_make_the_table_of_artifacts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "s.db"
    url = f"sqlite:///{file}"
    storage = open_storage(url)
    trial = optuna.create_study(storage=storage).ask()
    before = file.read_bytes()
    monkeypatch.setattr(dashboard, "_run", lambda *_: None)
    serve(url, port=0, read_only=True)
    assert file.read_bytes() == before
    store = ArtifactsToRead(storage)
    with pytest.raises(ArtifactNotFound):
        store.open_reader("c0ffee")
    assert file.read_bytes() == before
    # An artifact that comes later is shown.
    (saved,) = save_artifacts(storage, trial, {"a.csv": "1"})
    assert store.open_reader(saved).read() == b"1"
    with pytest.raises(ArtifactNotFound):
        ArtifactsToRead(InMemoryStorage()).open_reader(saved)
    with pytest.raises(io.UnsupportedOperation):
        store.write(saved, io.BytesIO(b"2"))
    with pytest.raises(io.UnsupportedOperation):
        store.remove(saved)
    assert store.open_reader(saved).read() == b"1"


def test_an_artifact_cannot_run_its_script(place: Place) -> None:
    app = ours(place)
    # The third finds the artifact as well: the dashboard drops what is no UTF-8.
    for path in (place.page, place.page + "/", place.page.replace("art", "\xffart"), "/\xff"):
        reply = ask(app, path)
        assert reply.all("Content-Security-Policy") == ["sandbox"]
        assert reply.one("X-Content-Type-Options") == "nosniff"
        if path != "/\xff":
            assert (reply.status, reply.body) == (200, PAGE.encode())
            assert ask(place.app, path).all("Content-Security-Policy") == []  # itself


def test_only_the_dashboards_own_pages_are_not_sandboxed(place: Place) -> None:
    own = ask(place.app, "/dashboard").one("Content-Security-Policy")
    assert "script-src 'self'" in own
    for path in ("/dashboard", "/dashboard/studies/1", "/dashboard/"):
        assert ask(ours(place), path).all("Content-Security-Policy") == [own]
    for path in ("/", "/api/studies", "/csv/1", "/dashboards", "/nothing"):
        assert ask(ours(place), path).all("Content-Security-Policy") == ["sandbox"]


def test_other_origins_neither_read_nor_frame(place: Place) -> None:
    assert ask(place.app, place.page).one("Access-Control-Allow-Origin") == "*"
    app = ours(place)
    for path in ("/dashboard", "/api/studies", place.page, "/nothing"):
        reply = ask(app, path, origin="http://evil.example")
        assert reply.all("Access-Control-Allow-Origin") == []
        assert reply.one("X-Frame-Options") == "DENY"
        assert reply.one("Referrer-Policy") == "same-origin"
        assert reply.one("Cross-Origin-Resource-Policy") == "same-origin"
        assert reply.one("X-Content-Type-Options") == "nosniff"


def test_what_succeeded_has_content_for_the_pages_to_read(place: Place) -> None:
    app = dashboard_app(open_storage(place.url))
    note = json.dumps({"version": 1, "body": "seen"}).encode()
    itself = ask(place.app, place.path + "/note", "PUT", body=note)
    assert (itself.status, itself.body) == (204, b"")  # json() of that fails in the page
    reply = ask(app, place.path + "/note", "PUT", body=note.replace(b"1", b"2"))
    assert (reply.status, reply.body) == (200, b"{}")
    assert reply.one("Content-Type") == "application/json"
    assert reply.one("Content-Length") == "2"
    # All else is as it was.
    for path in ("/api/studies", place.page, "/dashboard", "/nothing"):
        for method in ("GET", "HEAD", "DELETE"):
            reply, itself = ask(app, path, method), ask(place.app, path, method)
            assert (reply.status, reply.body) == (itself.status, itself.body)


REFUSED: list[dict[str, Any]] = [
    {"host": "evil.example"},
    {},
    {"query": f"token={TOKEN}"},
    {"authorization": f"Bearer {TOKEN}", "method": "DELETE", "origin": "null"},
    {"authorization": f"Bearer {TOKEN}", "method": "POST"},
]


@pytest.mark.parametrize("asked", REFUSED)
def test_the_guards_own_answers_are_whole(place: Place, asked: dict[str, Any]) -> None:
    """The standard library's validator finds nothing."""
    app = guarded(place.app, hosts=[HOST], token=TOKEN, read_only=True)
    asked = {"path": "/api/studies"} | asked
    reply = ask(validator(app), **asked)
    assert reply.status in (303, 401, 403, 405, 421)
    assert reply.one("Content-Length") == str(len(reply.body))
    assert reply.one("Content-Type") == "text/plain; charset=utf-8"
    assert reply.one("Cache-Control") == "no-store"
    assert reply.one("Content-Security-Policy") == "sandbox"
    assert reply.body.count(b"\n") == 0
    if "method" not in asked:
        assert ask(app, **asked, method="HEAD").body == b""


def command(url: str, *options: str, **environment: str) -> subprocess.Popen[str]:
    """Start ``foretune dashboard`` on a free port."""
    return subprocess.Popen(
        [FORETUNE, "dashboard", "--storage", url, "--port", "0", *options],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> str:
    """Return the address that it says it listens at."""
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.fullmatch(r"The dashboard is at (http://\S+) \(press Ctrl-C to stop\)\n", line)
    return found[1] if found else pytest.fail(line + process.communicate()[1])


def ended(
    process: subprocess.Popen[str], how: signal.Signals = signal.SIGINT
) -> tuple[int, str, str]:
    """Press Ctrl-C; return the exit code and all that was printed since."""
    process.send_signal(how)
    out, err = process.communicate()
    return process.returncode, out, err


def fetch(url: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
    """Fetch a page as a browser does, following redirects with cookies."""
    opener = urllib.request.build_opener(
        urllib.request.HTTPCookieProcessor(), urllib.request.ProxyHandler({})
    )
    request = urllib.request.Request(url, method=method, headers=headers)
    try:
        with opener.open(request) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def sent(url: str, request: bytes) -> bytes:
    """Send a request as it is; return the whole answer."""
    address = urllib.parse.urlsplit(url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(request)
        with connection.makefile("rb") as answer:
            return answer.read()


@pytest.fixture
def running(place: Place) -> Iterator[subprocess.Popen[str]]:
    process = command(place.url)
    yield process
    if process.poll() is None:
        process.kill()
        process.communicate()


def test_the_command_serves_until_ctrl_c(place: Place, running: subprocess.Popen[str]) -> None:
    url = said(running)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", url)
    status, page = fetch(url)
    assert status == 200
    assert b"<title>Optuna Dashboard</title>" in page
    (study,) = json.loads(fetch(url + "api/studies")[1])["study_summaries"]
    assert study["study_name"] == "s"
    assert fetch(url + place.page[1:]) == (200, PAGE.encode())
    assert fetch(url, Host="evil.example")[0] == 421
    localhost = url.replace("127.0.0.1", "localhost")
    assert fetch(localhost + "api/studies")[0] == 200
    assert fetch(url + place.path[1:], "DELETE", Origin="http://evil.example")[0] == 403
    # What the server itself refuses has the guard's headers too; no answer names the server.
    for line, status in (("BREW \u2615", b"400"), ("GET / HTTP/1.1", b"421")):
        answer = sent(url, f"{line}\r\nConnection: close\r\n\r\n".encode())
        assert answer.split()[1] == status
        assert b"\r\nX-Content-Type-Options: nosniff\r\n" in answer
        assert b"\r\nContent-Security-Policy: sandbox\r\n" in answer
        assert b"\r\nServer:" not in answer
        assert b"waitress" not in answer
    # A refusal arrives whole, however much was sent before it.
    for size in (10_000, 3_000_000):
        head = f"POST / HTTP/1.0\r\nHost: evil.example\r\nContent-Length: {size}\r\n\r\n"
        answer = sent(url, head.encode() + b"x" * size)
        assert answer.endswith(b"foretune dashboard --host-name NAME")
    # A browser that goes away in the middle of an answer is no news.
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", int(url.split(":")[-1][:-1]))) as gone:
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            gone.sendall(b"GET /static/bundle.js HTTP/1.1\r\nHost: 127.0.0.1")
    assert fetch(url + place.path[1:], "DELETE") == (200, b"{}")
    assert not place.exists()
    assert ended(running) == (0, "\nThe dashboard has stopped.\n", "")


def test_many_ask_at_once(place: Place, running: subprocess.Popen[str]) -> None:
    url = said(running)
    with ThreadPoolExecutor(16) as pool:
        paths = [place.page[1:], place.path[1:], "static/bundle.js", "api/studies"] * 16
        answers = list(pool.map(lambda path: fetch(url + path), paths))
    assert {status for status, _ in answers} == {200}
    # Nor does one that has not said all yet hold up the others.
    address = urllib.parse.urlsplit(url)
    with socket.create_connection((address.hostname, address.port)) as slow:
        slow.sendall(b"GET /api/studies HTTP/1.1\r\n")
        assert fetch(url + "api/studies")[0] == 200
        slow.sendall(f"Host: {address.netloc}\r\nConnection: close\r\n\r\n".encode())
        with slow.makefile("rb") as answer:
            assert b"200 OK" in answer.readline()
            answer.read()
    # Nor do many who say next to nothing, nor one who takes no compressed answer.
    with contextlib.ExitStack() as idle:
        for _ in range(150):
            quiet = socket.create_connection((address.hostname, address.port))
            idle.enter_context(quiet).sendall(b"G")
        plain = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with plain.open(url + "static/bundle.js", timeout=30) as answer:
            assert answer.status == 200
    assert ended(running, signal.SIGTERM) == (0, "\nThe dashboard has stopped.\n", "")


def test_the_token_comes_from_the_environment_and_is_never_printed(place: Place) -> None:
    process = command(
        place.url, "--read-only", "--host-name", "tunnel:9000", FORETUNE_DASHBOARD_TOKEN=TOKEN
    )
    try:
        printed = said(process)
        assert printed.endswith("/?token=$FORETUNE_DASHBOARD_TOKEN")
        url = printed.split("?")[0]
        assert fetch(url)[0] == 401
        assert fetch(f"{url}?token={TOKEN}")[0] == 200
        assert fetch(f"{url}api/studies?token={TOKEN}", Host="tunnel:9000")[0] == 200
        assert fetch(f"{url}?token=guessed-{TOKEN}")[0] == 401
        bearer = f"Bearer {TOKEN}"
        assert fetch(url + place.path[1:], "DELETE", Authorization=bearer)[0] == 405
        address = ("127.0.0.1", int(url.split(":")[-1][:-1]))
        for line in (f"GET /?token={TOKEN}", f"BREW /?token={TOKEN} HTTP/1.1 \u2615", TOKEN):
            with socket.create_connection(address) as connection:
                connection.sendall(line.encode() + b"\r\n\r\n")
                while connection.recv(4096):
                    pass
    finally:
        code, out, err = ended(process)
    assert (code, out, err) == (0, "\nThe dashboard has stopped.\n", "")
    assert place.exists()


def test_ipv6(place: Place) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"no IPv6 on this machine: {error}")
    process = command(place.url, "--host", "::1")
    try:
        url = said(process)
        assert url.startswith("http://[::1]:")
        assert fetch(url + "api/studies")[0] == 200
    finally:
        assert ended(process)[0] == 0


MISTAKES: list[tuple[dict[str, Any], str]] = [
    (
        {"host": "0.0.0.0"},
        f"host must be a loopback address such as 127.0.0.1 unless {TOKEN_VARIABLE}",
    ),
    ({"host": "::"}, "but got '::'"),
    ({"host": ""}, "but got ''"),
    ({"host": "192.0.2.1"}, "but got '192.0.2.1'"),
    ({"host": "127.0.0.1.evil.example"}, "host must be a loopback address"),
    ({"token": ""}, "must be at least 16 letters, digits"),
    ({"token": "short"}, r"the one given \(5 characters\) is not"),
    ({"token": "with a blank in the middle"}, "must be at least 16 letters, digits"),
    ({"token": TOKEN + "\n"}, "must be at least 16 letters, digits"),
    ({"host": "192.0.2.1", "token": TOKEN}, "'192.0.2.1' and 0: Cannot assign"),
    ({"host": "no such host", "token": TOKEN}, "host and port must be an address of this machine"),
    ({"port": 65536}, "but got '127.0.0.1' and 65536: "),
    ({"storage_url": "sqlite:///nowhere.db"}, "storage must be a database that exists"),
    ({"storage_url": "nowhere.db"}, "storage must be a database URL"),
]


@pytest.fixture
def unserved(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is let through by mistake fails the test, and does not serve for ever."""
    monkeypatch.setattr(dashboard, "_run", lambda *_: pytest.fail("it serves"))


@pytest.mark.parametrize(("options", "message"), MISTAKES)
def test_mistakes_are_one_line(
    place: Place,
    options: dict[str, Any],
    message: str,
    unserved: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(place.file.parent)
    with pytest.raises(ConfigError, match=message) as error:
        serve(**{"storage_url": place.url, "port": 0} | options)
    assert "\n" not in str(error.value)
    assert not options.get("token") or options["token"] not in str(error.value)
    assert [path.name for path in Path().iterdir()] == [place.file.name]


def test_a_port_that_is_taken_is_named(
    place: Place, capsys: pytest.CaptureFixture[str], unserved: None
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(SystemExit) as stop:
            main(("dashboard", "--storage", place.url, "--port", port))
    assert stop.value.code == 2
    line = f"foretune: port must be free, but {port} is taken\n"
    assert capsys.readouterr() == ("", line)


def test_others_reach_it_only_with_a_token(
    place: Place,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    unserved: None,
) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with pytest.raises(SystemExit) as stop:
        main(("dashboard", "--storage", place.url, "--host", "0.0.0.0"))
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert TOKEN_VARIABLE in err
