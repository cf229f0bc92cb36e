"""A server for one WSGI application: the standard library's, a thread a request, and silent."""

import errno
import socket
import sys
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from foretune.datasets.common.errors import ConfigError

_SECONDS_OF_SILENCE = 60.0


class _Handler(WSGIRequestHandler):
    timeout = _SECONDS_OF_SILENCE

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the line of a request can hold the token."""


class Server(ThreadingMixIn, WSGIServer):
    """Listens; ``set_app`` and ``serve_forever`` are the standard library's.

    optuna-dashboard's own command has the same one. A page asks for a handful of files, and for its
    study every few seconds. A thread that still answers does not hold up the end: what it writes is
    whole or not written, as for any process.

    Args:
        host: the address to listen on.
        port: 0 for any that is free; ``server_port`` says which.

    Raises:
        ConfigError: it cannot listen there.

    Example:
        >>> with Server("127.0.0.1", 8080) as server:
        ...     server.set_app(app)
        ...     server.serve_forever()
    """

    daemon_threads = True

    def __init__(self, host: str, port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError, UnicodeError) as error:
            raise _refusal(host, port, error) from None

    def server_bind(self) -> None:
        """Bind without HTTPServer's question to the name service, which can take seconds."""
        TCPServer.server_bind(self)
        name, self.server_port = self.server_address[:2]
        self.server_name = str(name)
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report what went wrong, unless it is that a browser went away."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _refusal(host: str, port: int, error: Exception) -> ConfigError:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return ConfigError(f"port must be one that is free, but {port} is taken")
    reason = getattr(error, "strerror", None) or error
    return ConfigError(
        "host and port must be an address of this machine to listen on, but got "
        f"{host!r} and {port}: {reason}"
    )
