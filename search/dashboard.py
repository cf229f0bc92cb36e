"""``serve``: optuna-dashboard behind its guard, on this machine unless there is a token."""

import errno
import io
import re
import socket
from collections.abc import Iterable
from ipaddress import ip_address
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, BinaryIO
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import WSGIApplication

from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.storages import BaseStorage

from foretune.datasets.errors import ConfigError
from foretune.search.artifacts import artifact_store
from foretune.search.dashboard_guard import guarded
from foretune.search.storage import open_storage, require_database

__all__ = ["TOKEN_VARIABLE", "guarded", "serve"]

# Not an option: other users of the machine see those in its list of processes.
TOKEN_VARIABLE = "FORETUNE_DASHBOARD_TOKEN"

_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,}")
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
