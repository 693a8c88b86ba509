"""Who may see and do what: the one middleware in front of every page."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from msgspec import Struct
from platformdirs import user_state_path
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ptsflow.errors import UsageError

#: The names of this host that a browser on it may use.
OWN_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
#: The most bytes of what a form sends.
_LONGEST_FORM = 8 * 1024
#: Everybody may ask these: they tell nothing of what is stored.
_OPEN = frozenset({"/healthz"})
_LOOKS = frozenset({"GET", "HEAD"})

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; "
    "style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Access(Struct, frozen=True, kw_only=True):
    """Who may use the page, and for what."""

    #: What a browser must show; None if everybody on this host may look.
    token: str | None
    #: The port it listens on: browsers share cookies among the ports of a host.
    port: int = 0
    #: Whether containers may be changed.
    has_actions: bool = False
    #: Further names by which browsers may call this host.
    names: frozenset[str] = frozenset()
    #: The key of the fields that show that a form is ours.
    form_key: bytes = b""

    @property
    def cookie(self) -> str:
        """The name of the cookie."""
        return f"ptsflow_{self.port}"

    def form_field(self, cookies: Mapping[str, str]) -> str:
        """Return what a form of ours sends, for the browser that has these cookies."""
        held = cookies.get(self.cookie, "")
        return hmac.new(self.form_key, held.encode(), hashlib.sha256).hexdigest()


def access(
    token: str | None, *, port: int, has_actions: bool, names: frozenset[str]
) -> Access:
    """Return who may use the page; forms are signed with a key made from the token."""
    secret = token or secrets.token_urlsafe()
    form_key = hashlib.sha256(f"ptsflow form {secret}".encode()).digest()
    return Access(
        token=token, port=port, has_actions=has_actions, names=names, form_key=form_key
    )


# -- the token -------------------------------------------------------------------


def kept_token(file: Path | None = None) -> str:
    """Return the token of this user, made when it is first asked for.

    It stays the same, so that open pages live on when the server is started again.

    Args:
        file: where it is kept; without it in the user's folder for such things.

    Raises:
        UsageError: the file cannot be read or made, or others may read it.
    """
    path = user_state_path("ptsflow") / "ui-token" if file is None else file
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_RDWR | os.O_CREAT
        with open(os.open(path, flags, 0o600), "r+", encoding="utf-8") as opened:  # noqa: PTH123 - a descriptor
            if os.fstat(opened.fileno()).st_mode & 0o077:
                raise UsageError(
                    f"ui: others may read the token file {path}; chmod 600 it, or name "
                    "another one with --token-file"
                )
            token = opened.read().strip()
            if not token:
                token = secrets.token_urlsafe(24)
                opened.write(token)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"ui: the token file {path} cannot be used: {error}; name another one with "
            "--token-file"
        ) from None
    return token


# -- the middleware --------------------------------------------------------------


class Guard:
    """Answers what may not pass, and gives all answers the headers that protect them."""

    def __init__(self, app: ASGIApp, allowed: Access) -> None:
        self._app = app
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # Nothing here speaks another protocol.
            return
        protected = _protected(send, is_static=scope["path"].startswith("/static/"))
        request = Request(scope, receive)
        refused = self._refuse(request)
        if refused is None and request.method == "POST":
            body = await _form(request)
            refused = self._refuse_form(request, body)
            receive = _again(body or b"")
        if refused is None:
            await self._app(scope, receive, protected)
        else:
            await refused(scope, receive, protected)

    def _refuse(self, request: Request) -> Response | None:
        """Return the answer to what may not pass; None if it may."""
        if not self._is_ours(request.headers):
            return _says(
                HTTPStatus.MISDIRECTED_REQUEST,
                "This server is called by another name than it knows. Start it with "
                "--allow-host NAME if that is right.",
            )
        if request.method not in _LOOKS and request.method != "POST":
            return self._no_method()
        if request.url.path in _OPEN:
            return None
        if self._allowed.token is not None:
            answer = self._check_token(request, self._allowed.token)
            if answer is not None:
                return answer
        if request.method == "POST":
            return self._refuse_post(request.headers)
        return None

    def _is_ours(self, headers: Headers) -> bool:
        host = headers.get("host", "").lower()
        name, colon, port = host.rpartition(":")
        if not colon or not port.isdecimal():
            name = host
        return name in OWN_NAMES or name in self._allowed.names

    def _check_token(self, request: Request, token: str) -> Response | None:
        """Return the answer to who does not show the token, or shows it in the address."""
        shown = request.query_params.get("token")
        if shown is not None and request.method in _LOOKS and _equal(shown, token):
            answer: Response = RedirectResponse(
                _without_token(request), HTTPStatus.SEE_OTHER
            )
            answer.set_cookie(
                self._allowed.cookie, token, httponly=True, samesite="lax", path="/"
            )
            return answer
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        by_header = scheme.lower() == "bearer" and _equal(bearer.strip(), token)
        if by_header or _equal(request.cookies.get(self._allowed.cookie, ""), token):
            return None
        answer = _says(
            HTTPStatus.UNAUTHORIZED,
            "Open the address that `ptsflow ui` printed: it ends in ?token=…",
        )
        answer.headers["WWW-Authenticate"] = "Bearer"
        return answer

    def _refuse_post(self, headers: Headers) -> Response | None:
        if not self._allowed.has_actions:
            return self._no_method()
        origin = urlsplit(headers.get("origin", ""))
        is_own = origin.netloc.lower() == headers.get("host", "").lower()
        site = headers.get("sec-fetch-site", "same-origin")
        if not (
            is_own and origin.scheme in ("http", "https") and site == "same-origin"
        ):
            return _says(HTTPStatus.FORBIDDEN, "This was sent by another site.")
        return None

    def _no_method(self) -> Response:
        has_actions = self._allowed.has_actions
        why = "" if has_actions else " Start it with --actions to change things."
        answer = _says(HTTPStatus.METHOD_NOT_ALLOWED, f"This page only shows.{why}")
        answer.headers["Allow"] = "GET, HEAD, POST" if has_actions else "GET, HEAD"
        return answer

    def _refuse_form(self, request: Request, body: bytes | None) -> Response | None:
        if body is None:
            return _says(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "That form is too long.")
        fields = parse_qs(body.decode("latin-1"))
        expected = self._allowed.form_field(request.cookies)
        if not _equal(fields.get("form", [""])[0], expected):
            return _says(
                HTTPStatus.FORBIDDEN,
                "This form is an old one, or not from this page; load the page again.",
            )
        return None


def _equal(shown: str, expected: str) -> bool:
    return hmac.compare_digest(shown.encode(), expected.encode())


def _without_token(request: Request) -> str:
    """Return the path and query of a request without the token."""
    pairs = parse_qsl(request.url.query, keep_blank_values=True)
    query = urlencode([(name, value) for name, value in pairs if name != "token"])
    # Two slashes at the beginning would name another host.
    path = "/" + request.url.path.lstrip("/")
    return f"{path}?{query}" if query else path


def _says(status: HTTPStatus, text: str) -> Response:
    return PlainTextResponse(f"{text}\n", status)


async def _form(request: Request) -> bytes | None:
    """Return the body of a request; None if it is too long."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LONGEST_FORM:
            return None
    return body


def _again(body: bytes) -> Receive:
    """Return what a body that was read is received from once more."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _protected(send: Send, *, is_static: bool) -> Send:
    """Return what sends answers with the headers that protect them.

    Args:
        send: what sends answers.
        is_static: whether a browser may keep the answer, if it asks each time whether
            that is still the same.
    """

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            if is_static:
                headers["Cache-Control"] = "no-cache"
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending
