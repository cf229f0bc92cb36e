"""The guard before the dashboard: who may ask, who may change, and what an answer may do.

optuna-dashboard 0.21 answers whoever reaches its port, under any name, lets any page in the same
browser delete a study, and runs the script of an HTML artifact as its own. All of that is refused
here, in WSGI, whichever server runs it.
"""

import hashlib
import hmac
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

Header = tuple[str, str]

_READING = ("GET", "HEAD")
_LONGEST_DRAINED = 2**20

_ON_EVERY_ANSWER: list[Header] = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    # Not no-referrer: with that, a browser hides from us that a form is our own.
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
]
_SANDBOX: Header = ("Content-Security-Policy", "sandbox")


@dataclass(frozen=True)
class Answer:
    """What the guard answers in the application's place."""

    status: str
    text: str = ""
    headers: tuple[Header, ...] = ()


# A rule returns its answer to a request that does not pass, None to one that does.
Rule = Callable[[WSGIEnvironment], Answer | None]


def guarded(
    app: WSGIApplication,
    *,
    hosts: Collection[str],
    token: str | None = None,
    read_only: bool = False,
) -> WSGIApplication:
    """Return ``app`` behind a guard.

    The rules, in their order: a ``Host`` header that is not among ``hosts`` gets 421, which ends
    DNS rebinding; a request without the token 401; a write from another origin's page 403; any
    write 405 if only reading is allowed. On the answers, artifacts are sandboxed, so that their
    scripts do not run, no page may frame the dashboard, and no other origin may read from it.

    Args:
        app: optuna-dashboard, as ``optuna_dashboard.wsgi`` makes it.
        hosts: what a browser may call this server, with the port unless it is 80:
            ``127.0.0.1:8080``.
        token: what a visitor must bring, as ``Authorization: Bearer TOKEN`` or once as ``?token=``,
            which is answered with a cookie and the address without it; None to ask for nothing.
        read_only: refuse whatever is not GET or HEAD. Neither changes anything in the dashboard.

    Example:
        >>> app = optuna_dashboard.wsgi(storage, artifact_store=artifact_store(storage))
        >>> app = guarded(app, hosts=["127.0.0.1:8080"], read_only=True)
    """
    rules = [_known_host(hosts)]
    if token is not None:
        rules.append(_token_shown(token))
    rules.append(_own_origin)
    if read_only:
        rules.append(_only_reading)

    def guard(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        for rule in rules:
            answer = rule(environ)
            if answer is not None:
                return _send(answer, environ, start_response)
        return app(environ, _hardened(environ, start_response))

    return guard


def _known_host(hosts: Collection[str]) -> Rule:
    known = frozenset(host.lower() for host in hosts)

    def rule(environ: WSGIEnvironment) -> Answer | None:
        host = environ.get("HTTP_HOST", "")
        if host.lower() in known:
            return None
        return Answer(
            "421 Misdirected Request",
            f"The dashboard does not answer to the name {host!r}. If you trust it, start with "
            "it: foretune dashboard --host-name NAME",
        )

    return rule


def _token_shown(token: str) -> Rule:
    bearer = f"Bearer {token}"
    cookie = _cookie(token)

    def rule(environ: WSGIEnvironment) -> Answer | None:
        query = parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        brought = [value for name, value in query if name == "token"]
        if brought and environ["REQUEST_METHOD"] in _READING:
            return _signed_in(environ, cookie) if _same(brought[-1], token) else _UNAUTHORIZED
        cookies = environ.get("HTTP_COOKIE", "").split(";")
        if any(_same(each.strip(), cookie) for each in cookies):
            return None
        return None if _same(environ.get("HTTP_AUTHORIZATION", ""), bearer) else _UNAUTHORIZED

    return rule


_UNAUTHORIZED = Answer(
    "401 Unauthorized",
    "The dashboard wants its token. Open it once with ?token=TOKEN at the end of the address.",
    (("WWW-Authenticate", 'Bearer realm="foretune dashboard"'),),
)


def _cookie(token: str) -> str:
    """Return NAME=VALUE, from which the token cannot be read.

    A browser shows a cookie to every port of a host. So the token itself is not in it, and two
    dashboards on one host have cookies of different names.
    """
    digest = hmac.new(token.encode(), b"foretune dashboard", hashlib.sha256).hexdigest()
    return f"foretune-{digest[:8]}={digest[8:]}"


def _signed_in(environ: WSGIEnvironment, cookie: str) -> Answer:
    """Leave the cookie, and the address without the token: it may be shown, kept or shared."""
    query = parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    rest = urlencode([(name, value) for name, value in query if name != "token"])
    # One slash: with two, it would be the address of another host.
    path = "/" + quote(environ.get("PATH_INFO", "").lstrip("/"), encoding="latin-1")
    return Answer(
        "303 See Other",
        headers=(
            ("Location", f"{path}?{rest}" if rest else path),
            ("Set-Cookie", f"{cookie}; HttpOnly; SameSite=Strict; Path=/"),
        ),
    )


def _same(shown: str, wanted: str) -> bool:
    """Compare in a time that does not tell how much of it is right."""
    return hmac.compare_digest(shown.encode(errors="replace"), wanted.encode())


def _own_origin(environ: WSGIEnvironment) -> Answer | None:
    """Refuse a write that a page of another origin has a browser make.

    Browsers name the origin with every write; what is not a browser names none.
    """
    origin = environ.get("HTTP_ORIGIN")
    if origin is None or environ["REQUEST_METHOD"] in _READING:
        return None
    host = environ["HTTP_HOST"].lower()
    # With https, should there be a proxy in between.
    if origin.lower() in (f"http://{host}", f"https://{host}"):
        return None
    return Answer("403 Forbidden", "Only the dashboard's own pages may change a study.")


def _only_reading(environ: WSGIEnvironment) -> Answer | None:
    if environ["REQUEST_METHOD"] in _READING:
        return None
    allowed = ("Allow", ", ".join(_READING))
    return Answer("405 Method Not Allowed", "The dashboard was started --read-only.", (allowed,))


def _send(
    answer: Answer, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    _drain(environ)
    body = answer.text.encode(errors="replace")
    headers = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        *answer.headers,
    ]
    start_response(answer.status, headers + _ON_EVERY_ANSWER + [_SANDBOX])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def _drain(environ: WSGIEnvironment) -> None:
    """Read what came with the request: closed on unread bytes, a connection loses the answer."""
    length = environ.get("CONTENT_LENGTH") or ""
    if length.isdecimal():
        environ["wsgi.input"].read(min(int(length), _LONGEST_DRAINED))


def _hardened(environ: WSGIEnvironment, start_response: StartResponse) -> StartResponse:
    """Return a ``start_response`` that adds headers to the application's.

    Everything but the dashboard's own pages is sandboxed, not only what lies below /artifacts/: the
    dashboard drops broken UTF-8 from a path before it looks for who serves it. And artifacts come
    with leave for every origin to read them, which is taken back.
    """
    is_page = (environ.get("PATH_INFO", "") + "/").startswith("/dashboard/")
    added = _ON_EVERY_ANSWER if is_page else [*_ON_EVERY_ANSWER, _SANDBOX]

    def start(status: str, headers: list[Header], exc_info: Any = None, /) -> Any:
        kept = [header for header in headers if header[0].lower() != "access-control-allow-origin"]
        return start_response(status, kept + added, exc_info)

    return start
