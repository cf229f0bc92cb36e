"""``serve``: optuna-dashboard behind its guard, for this machine alone unless there is a token."""

import errno
import io
import logging
import re
import socket
from collections.abc import Collection
from contextlib import closing
from ipaddress import ip_address
from typing import Any, BinaryIO
from wsgiref.types import WSGIApplication

from optuna.storages import BaseStorage
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer, create_server
from waitress.task import ErrorTask

from foretune.datasets.common.errors import ConfigError
from foretune.search.dashboard.guard import ON_EVERY_ANSWER, SANDBOX, guarded
from foretune.search.storage.artifact_store import artifact_store
from foretune.search.storage.connect import DEFAULT_STORAGE, open_storage, require_database

# Not an option of the command: the machine's other users see those in its list of processes.
TOKEN_VARIABLE = "FORETUNE_DASHBOARD_TOKEN"

_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,}")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_ALL_ADDRESSES = ("0.0.0.0", "::")


def serve(
    storage_url: str = DEFAULT_STORAGE,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    token: str | None = None,
    read_only: bool = False,
    host_names: Collection[str] = (),
) -> None:
    """Show the studies of a storage in a browser until Ctrl-C; says where when it listens.

    Args:
        storage_url: of a database that exists, see :func:`open_storage`.
        host: the address to listen on; another than a loopback one needs a token.
        port: 0 for any that is free.
        token: what visitors must bring, see :func:`guarded`; the command takes it from the
            environment variable FORETUNE_DASHBOARD_TOKEN.
        read_only: let nobody change or delete anything.
        host_names: further names that the dashboard is called by in a browser, as the address
            shows them: ``localhost:9000`` at the near end of an SSH tunnel.

    Raises:
        ConfigError: no such database, a token that can be guessed, or none where one is needed, or
            an address or port that cannot be listened on.

    Example:
        >>> serve("sqlite:///foretune.db", port=8081, read_only=True)
        The dashboard is at http://127.0.0.1:8081/ (press Ctrl-C to stop)
    """
    _require_token(host, token)
    require_database(storage_url)
    with closing(_listen(host, port)) as listening:
        port = listening.getsockname()[1]
        app = guarded(
            dashboard_app(open_storage(storage_url), read_only=read_only),
            hosts=_host_names(host, port) | set(host_names),
            token=token,
            read_only=read_only,
        )
        # The name of the variable, never what is in it: terminals are logged and shared.
        query = f"?token=${TOKEN_VARIABLE}" if token else ""
        where = f"http://{_shown(host)}:{port}/{query}"
        _run(app, listening, f"The dashboard is at {where} (press Ctrl-C to stop)")


def _require_token(host: str, token: str | None) -> None:
    if token is None and not _is_loopback(host):
        raise ConfigError(
            f"host must be a loopback address such as 127.0.0.1 unless {TOKEN_VARIABLE} is set, "
            f"but got {host!r}"
        )
    if token is not None and not _TOKEN.fullmatch(token):
        raise ConfigError(
            f"{TOKEN_VARIABLE} must be at least 16 letters, digits or . _ ~ -, but the one given "
            f"({len(token)} characters) is not"
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen()
    except (OSError, OverflowError, UnicodeError) as error:
        listening.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise ConfigError(f"port must be free, but {port} is taken") from None
        raise ConfigError(
            "host and port must be an address of this machine to listen on, but got "
            f"{host!r} and {port}: {getattr(error, 'strerror', None) or error}"
        ) from None
    return listening


def _host_names(host: str, port: int) -> set[str]:
    """Return what browsers put into the Host header: the port is left out only if it is 80."""
    names = {_shown(name) for name in (*_LOOPBACK, host)}
    return {f"{name}:{port}" for name in names} | (names if port == 80 else set())


def _shown(host: str) -> str:
    """Return a host as addresses show it; where it is all of this machine's, the machine's name."""
    if host in _ALL_ADDRESSES:
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def _run(app: WSGIApplication, listening: socket.socket, greeting: str) -> None:
    # What is wrong with the dashboard is printed, but not every visitor who leaves early.
    logging.getLogger("waitress").setLevel(logging.ERROR)
    connections: dict[int, Any] = {}
    server = create_server(
        app,
        map=connections,
        sockets=[listening],
        threads=8,
        ident=None,
        log_socket_errors=False,
        # Visitors who say nothing must not keep others out.
        connection_limit=1000,
        channel_timeout=20,
        asyncore_use_poll=True,
    )
    assert isinstance(server, BaseWSGIServer)  # as of one socket
    server.channel_class = _Channel
    print(greeting, flush=True)
    try:
        wasyncore.loop(timeout=1, use_poll=True, map=connections)
    except KeyboardInterrupt:
        # server.run() would wait five seconds for an answer that takes long.
        server.task_dispatcher.shutdown(timeout=1)
        print("\nThe dashboard has stopped.", flush=True)
    finally:
        wasyncore.close_all(connections)


class _Refusal(ErrorTask):
    """What waitress itself answers to a malformed request, with the guard's headers."""

    def start(self) -> None:
        super().start()
        self.response_headers = [*ON_EVERY_ANSWER, SANDBOX]


class _Channel(HTTPChannel):
    error_task_class = _Refusal


def dashboard_app(storage: BaseStorage, *, read_only: bool = False) -> Any:
    """Return optuna-dashboard over a storage, without a guard: a WSGI application of Bottle.

    Example:
        >>> app = guarded(dashboard_app(storage), hosts=["127.0.0.1:8080"])
    """
    # Only here: a refusal, or --help, need not wait for them.
    import bottle
    import optuna_dashboard

    from foretune.search.figures.deferred import DrawnArtifacts

    store = ArtifactsToRead(storage) if read_only else artifact_store(storage)
    app = optuna_dashboard.wsgi(storage, artifact_store=DrawnArtifacts(store))

    def answer_with_content() -> None:
        # The pages of optuna-dashboard 0.21 read every answer as JSON: after a 204, which has no
        # content, they say that it failed, and go on showing what was there before.
        if bottle.response.status_code == 204:
            bottle.response.status = 200

    app.add_hook("after_request", answer_with_content)
    return app


class ArtifactsToRead:
    """An Optuna artifact store to read from.

    Example:
        >>> ArtifactsToRead(storage).open_reader(artifact_id).read()
        b'epoch,loss'
    """

    def __init__(self, storage: BaseStorage) -> None:
        self._storage = storage

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Return the content of an artifact, to be read as a file.

        Raises:
            ArtifactNotFound: there is none of this id.
        """
        return artifact_store(self._storage).open_reader(artifact_id)

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Refuse to write an artifact."""
        raise io.UnsupportedOperation("write")

    def remove(self, artifact_id: str) -> None:
        """Refuse to remove an artifact."""
        raise io.UnsupportedOperation("remove")
