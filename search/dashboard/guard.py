"""The guard in front of the dashboard: who may read, who may change, what answers may do.

optuna-dashboard 0.21 answers whoever reaches its port, under any name, lets any page in the same
browser delete a study, and runs the script of an HTML artifact as its own. All of that is refused
here.
"""

import hashlib
import hmac
from collections.abc import Collection, Iterable
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

Header = tuple[str, str]

_READING = ("GET", "HEAD")

ON_EVERY_ANSWER: list[Header] = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    # Not no-referrer: browsers would then send no Origin with our own forms.
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
]
SANDBOX: Header = ("Content-Security-Policy", "sandbox")


# What the guard answers in the application's place: status, text, and headers of its own.
Answer = tuple[str, str, list[Header]]


def guarded(
    app: WSGIApplication,
    *,
    hosts: Collection[str],
    token: str | None = None,
    read_only: bool = False,
) -> WSGIApplication:
    """Return ``app`` behind a guard.

    The rules, in their order: a ``Host`` header that is not among ``hosts`` gets 421, which stops
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
    known = {host.lower() for host in hosts}

    def refusal(environ: WSGIEnvironment) -> Answer | None:
        name = environ.get("HTTP_HOST", "")
        host = name.lower()
        if host not in known:
            text = (
                f"The dashboard does not answer to the name {name!r}. If you trust it, "
                "restart with foretune dashboard --host-name NAME"
            )
            return "421 Misdirected Request", text, []
        if token is not None and (answer := _check_token(environ, token)):
            return answer
        if environ["REQUEST_METHOD"] in _READING:
            return None
        # Browsers send the origin with every write; other programs do not. It is https where a
        # proxy adds that.
        origin = environ.get("HTTP_ORIGIN", f"http://{host}").lower()
        if origin not in (f"http://{host}", f"https://{host}"):
            return "403 Forbidden", "Only the dashboard's own pages may change a study.", []
        if read_only:
            text = "The dashboard was started with --read-only."
            return "405 Method Not Allowed", text, [("Allow", ", ".join(_READING))]
        return None

    def guard(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        answer = refusal(environ)
        if answer is None:
            environ.setdefault("HTTP_ACCEPT_ENCODING", "")  # optuna-dashboard fails without it
            return app(environ, _hardened(environ, start_response))
        status, text, headers = answer
        body = text.encode()
        headers += [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
        ]
        start_response(status, [*headers, *ON_EVERY_ANSWER, SANDBOX])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    return guard


def _check_token(environ: WSGIEnvironment, token: str) -> Answer | None:
    """Return None if a request brings the token; one in its address is answered with a cookie."""
    query = parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    brought = [value for name, value in query if name == "token"]
    # A browser shows a cookie to every port of a host. So the token itself is not in it, and two
    # dashboards on one host have cookies of different names.
    digest = hmac.new(token.encode(), b"foretune dashboard", hashlib.sha256).hexdigest()
    cookie = f"foretune-{digest[:8]}={digest[8:]}"
    cookies = [each.strip() for each in environ.get("HTTP_COOKIE", "").split(";")]
    bearer = environ.get("HTTP_AUTHORIZATION", "")
    if brought and environ["REQUEST_METHOD"] in _READING:
        if _same(brought[-1], token):
            # The address without the token, which may be shared. It begins with one slash: with
            # two, it would be that of another host.
            address = "/" + quote(environ.get("PATH_INFO", "").lstrip("/"), encoding="latin-1")
            rest = urlencode([(name, value) for name, value in query if name != "token"])
            location = f"{address}?{rest}" if rest else address
            kept = f"{cookie}; HttpOnly; SameSite=Strict; Path=/"
            return "303 See Other", "", [("Location", location), ("Set-Cookie", kept)]
    elif any(_same(each, cookie) for each in cookies) or _same(bearer, f"Bearer {token}"):
        return None
    return (
        "401 Unauthorized",
        "The dashboard needs its token. Open it once with ?token=TOKEN at the end of the address.",
        [("WWW-Authenticate", 'Bearer realm="foretune dashboard"')],
    )


def _same(shown: str, expected: str) -> bool:
    """Compare in a time that does not tell how much of it is right."""
    return hmac.compare_digest(shown.encode(errors="replace"), expected.encode())


def _hardened(environ: WSGIEnvironment, start_response: StartResponse) -> StartResponse:
    """Return a ``start_response`` that adds headers to the application's.

    Everything but the dashboard's own pages is sandboxed, not only what lies below /artifacts/: the
    dashboard drops broken UTF-8 from a path before it looks for who serves it. And it lets every
    origin read artifacts, which is taken back.
    """
    is_page = (environ.get("PATH_INFO", "") + "/").startswith("/dashboard/")
    added = ON_EVERY_ANSWER if is_page else [*ON_EVERY_ANSWER, SANDBOX]

    def start(status: str, headers: list[Header], exc_info: Any = None, /) -> Any:
        kept = [header for header in headers if header[0].lower() != "access-control-allow-origin"]
        return start_response(status, kept + added, exc_info)

    return start
