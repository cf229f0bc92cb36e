"""``serve``: optuna-dashboard behind its guard, for this machine alone unless there is a token."""

import io
import re
import socket
from collections.abc import Collection
from ipaddress import ip_address
from typing import BinaryIO
from wsgiref.types import WSGIApplication

from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy import inspect

from foretune.datasets.common.errors import ConfigError
from foretune.search.dashboard.guard import guarded
from foretune.search.dashboard.repair import with_content
from foretune.search.dashboard.server import Server
from foretune.search.storage.artifact_store import artifact_store
from foretune.search.storage.connect import DEFAULT_STORAGE, open_storage, require_database
from foretune.search.storage.optuna_internals import behind_cache

__all__ = ["TOKEN_VARIABLE", "guarded", "serve"]

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
        The dashboard is at http://127.0.0.1:8081/ (Ctrl-C ends it)
    """
    _require_token(host, token)
    require_database(storage_url)
    with Server(host, port) as server:
        names = _host_names(host, server.server_port) | set(host_names)
        app = _dashboard(open_storage(storage_url), read_only=read_only)
        server.set_app(guarded(app, hosts=names, token=token, read_only=read_only))
        print(_where(host, server.server_port, token), flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("\nThe dashboard has ended.", flush=True)


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


def _host_names(host: str, port: int) -> set[str]:
    """Return what browsers put into the Host header: the port is left out only if it is 80."""
    names = {_bracketed(name) for name in (*_LOOPBACK, _shown(host))}
    return {f"{name}:{port}" for name in names} | (names if port == 80 else set())


def _shown(host: str) -> str:
    """Return the name of this machine where the host is only "all its addresses"."""
    return socket.gethostname() if host in _ALL_ADDRESSES else host


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _where(host: str, port: int, token: str | None) -> str:
    # The name of the variable, never what is in it: terminals are logged and shared.
    query = f"?token=${TOKEN_VARIABLE}" if token else ""
    return f"The dashboard is at http://{_bracketed(_shown(host))}:{port}/{query} (Ctrl-C ends it)"


def _dashboard(storage: BaseStorage, *, read_only: bool) -> WSGIApplication:
    # Only here: a refusal, or --help, need not wait for it.
    import optuna_dashboard

    store = ArtifactsToRead(storage) if read_only else artifact_store(storage)
    return with_content(optuna_dashboard.wsgi(storage, artifact_store=store))


class ArtifactsToRead:
    """An Optuna artifact store to read from: it does not even make the table that is missing.

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
        if not _has_artifacts(self._storage):
            raise ArtifactNotFound(f"no artifact {artifact_id}")
        return artifact_store(self._storage).open_reader(artifact_id)

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Refuse to write an artifact."""
        raise io.UnsupportedOperation("write")

    def remove(self, artifact_id: str) -> None:
        """Refuse to remove an artifact."""
        raise io.UnsupportedOperation("remove")


def _has_artifacts(storage: BaseStorage) -> bool:
    behind = behind_cache(storage)
    return not isinstance(behind, RDBStorage) or inspect(behind.engine).has_table(
        "foretune_artifacts"
    )
