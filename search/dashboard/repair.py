"""A repair of optuna-dashboard 0.21: its pages take what succeeded for a failure."""

from collections.abc import Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_EMPTY = b"{}"
_HEADERS = [("Content-Type", "application/json"), ("Content-Length", str(len(_EMPTY)))]


def with_content(app: WSGIApplication) -> WSGIApplication:
    """Return ``app`` with an empty JSON object wherever it answers 204, without content.

    The pages read every answer as JSON. After a note was saved or a study deleted they read
    nothing, say that it failed, and go on showing what was there before.

    Example:
        >>> app = with_content(optuna_dashboard.wsgi(storage))
    """

    def repaired(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        without = False

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Any:
            nonlocal without
            without = status.startswith("204")
            if without:
                status, headers = "200 OK", headers + _HEADERS
            return start_response(status, headers, exc_info)

        content = app(environ, start)
        return [_EMPTY] if without else content

    return repaired
