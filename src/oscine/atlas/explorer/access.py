"""Who may ask, how much, and how: what stands before the atlas.

In comes every request; out come the answer of the atlas with headers that keep it to itself, or a
refusal, of which one line is logged. Nothing of a token, a cookie or a query is ever logged.

Without a token a server is for this computer alone: requests must name it by an address of this
computer (so that no page of the web reaches it under a name of its own, DNS rebinding), and no
page of another origin may ask. With a token any name will do, for whoever has not typed the token
into the form has no session.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from oscine.config import WrongArgument

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

log = logging.getLogger("oscine.explorer")

LEAST_TOKEN = 16
"""Characters."""
COOKIE = "oscine_session"
SESSION_S = 12 * 3600
MOST_SESSIONS = 1000
ENTER = "/enter"
SIMILAR = "/api/similar"
MARK = b"x-oscine"
"""A header that no page of another origin can send unasked: whatever writes must have it."""

MOST_BODY = 64 * 1024
MOST_SOUND = 20 * 1024 * 1024
MOST_QUERY = 4096
BODY_S = 30.0
"""A body must be there after so long."""
PIECE = 64 * 1024
"""Answers are handed to the server so, and never held whole for a slow client."""

RATE_PER_S, BURST = 1000.0, 4000.0
"""Requests of one address; fifty people who move the mouse over a map need a tenth."""
WRITES_PER_S, WRITE_BURST = 5.0, 30.0
TRIES_PER_S, TRY_BURST = 0.1, 5.0
"""Wrong tokens of one address."""
ALL_TRIES_PER_S, ALL_TRY_BURST = 1.0, 30.0
"""Wrong tokens of all addresses."""
MOST_ADDRESSES = 10_000

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    # With "no-referrer", browsers hide the origin of the form from its own server.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
FORM = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Oscine</title>
<meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,">
<h1>Sound atlas</h1>
<p>{said}</p>
<form method="post">
<label>Token <input name="token" type="password" required autofocus></label>
<button>Enter</button>
</form></html>
"""
ASKED = "This atlas asks for the token that it was started with."


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """Who may ask.

    Attributes
    ----------
    hosts : frozenset of str
        What the Host header may say; without a token.
    token : str or None
        Whoever has typed it may ask, under any name of the host.

    Raises
    ------
    WrongArgument
        The token is too short.
    """

    hosts: frozenset[str] = frozenset()
    token: str | None = None

    def __post_init__(self) -> None:
        if self.token is not None and len(self.token) < LEAST_TOKEN:
            raise WrongArgument(
                f"--token must have at least {LEAST_TOKEN} characters: make one with "
                '`python -c "import secrets; print(secrets.token_urlsafe())" > token` and give '
                "--token @token"
            )

    @classmethod
    def of_this_computer(cls, port: int, host: str = "127.0.0.1") -> Access:
        """Return the access of whoever sits at this computer, which is listened on at a host."""
        names = ("127.0.0.1", "localhost", "[::1]", host.lower())
        bare = names if port == 80 else ()
        return cls(hosts=frozenset([*(f"{name}:{port}" for name in names), *bare]))


def sentence(text: str) -> str:
    """End what is said with a full stop."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


class _Refused(Exception):
    """A request that is not passed on."""

    def __init__(self, status: int, why: str, retry_after_s: int | None = None) -> None:
        super().__init__(why)
        self.status = status
        self.why = why
        self.retry_after_s = retry_after_s


class _Allowance:
    """So many a second, and some more at once, for each name."""

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s, self._burst = per_s, burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def has(self, name: str) -> bool:
        """Tell whether there is one left."""
        return self._now(name) >= 1

    def take(self, name: str) -> bool:
        """Take one, and tell whether there was one."""
        left = self._now(name)
        self._left[name] = (max(0.0, left - 1), time.monotonic())
        self._left.move_to_end(name)
        if len(self._left) > MOST_ADDRESSES:
            self._left.popitem(last=False)
        return left >= 1

    def _now(self, name: str) -> float:
        now = time.monotonic()
        left, then = self._left.get(name, (self._burst, now))
        return min(self._burst, left + (now - then) * self._per_s)


class _Sessions:
    """Who has typed the token; in memory, so that they end with the server."""

    def __init__(self) -> None:
        self._ends_s: OrderedDict[bytes, float] = OrderedDict()

    def begin(self) -> str:
        """Return the name of a new session."""
        name = secrets.token_urlsafe(32)
        self._ends_s[_digest(name)] = time.monotonic() + SESSION_S
        if len(self._ends_s) > MOST_SESSIONS:
            self._ends_s.popitem(last=False)
        return name

    def has(self, name: str) -> bool:
        """Tell whether there is a session of this name."""
        # By its digest: how long the look-up takes says nothing of the name.
        return self._ends_s.get(_digest(name), 0.0) > time.monotonic()


class Guard:
    """The application behind it, for those who may ask.

    Parameters
    ----------
    app : ASGI application
    access : Access
    """

    def __init__(self, app: App, access: Access) -> None:
        self.app = app
        self._access = access
        self._sessions = _Sessions()
        # Browsers do not tell the ports of a host apart: each server has a name of its own.
        self._cookie = f"{COOKIE}_{secrets.token_hex(4)}"
        self._requests = _Allowance(RATE_PER_S, BURST)
        self._writes = _Allowance(WRITES_PER_S, WRITE_BURST)
        self._tries = _Allowance(TRIES_PER_S, TRY_BURST)
        self._all_tries = _Allowance(ALL_TRIES_PER_S, ALL_TRY_BURST)
        self._is_sound_read = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return None
        answer = _Answer(scope, send)
        try:
            await self._pass(scope, receive, answer)
        except _Refused as refusal:
            answer.why = refusal.why
            await _refuse(answer, refusal)
        finally:
            if answer.status >= 400:
                why = f": {answer.why}" if answer.why else ""
                log.warning("refused %d %s%s", answer.status, _named(scope), why)

    async def _pass(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        client, headers = _client(scope), dict(scope["headers"])
        if not self._requests.take(client):
            raise _Refused(429, "too many requests: ask more slowly", 1)
        self._check_origin(scope, headers)
        if len(scope["query_string"]) > MOST_QUERY:
            raise _Refused(414, f"the address has more than {MOST_QUERY:,} characters")
        # The form is posted to the page itself, whose address keeps what is looked at.
        is_form = scope["path"] == ENTER or (scope["path"] == "/" and scope["method"] == "POST")
        if self._access.token is not None and is_form:
            return await self._enter(scope, receive, answer, client, headers)
        if self._access.token is not None and not self._is_inside(headers):
            return await _ask_for_token(answer, scope["path"], ASKED)
        if scope["method"] in ("GET", "HEAD"):
            return await self.app({**scope, "method": "GET"}, _no_body, answer.send)
        is_sound = scope["method"] == "POST" and scope["path"] == SIMILAR
        if not is_sound and scope["method"] == "POST":
            if headers.get(MARK) != b"1":
                raise _Refused(403, "whatever changes something needs the header X-Oscine: 1")
            if not self._writes.take(client):
                raise _Refused(429, "too many changes: wait a moment", 5)
        if not is_sound:
            body = await _body(receive, headers, MOST_BODY)
            return await self.app(scope, _replayed(body), answer.send)
        if self._is_sound_read:
            raise _Refused(503, "another sound is being heard: ask again in a moment", 5)
        self._is_sound_read = True
        try:
            body = await _body(receive, headers, MOST_SOUND)
            await self.app(scope, _replayed(body), answer.send)
        finally:
            self._is_sound_read = False

    def _check_origin(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        """Refuse what comes by a name that is not ours, or from a page that is not."""
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        host = hosts[0].decode("latin-1").lower() if len(hosts) == 1 else ""
        if not host or (self._access.token is None and host not in self._access.hosts):
            raise _Refused(
                421, "this atlas is not to be reached by this name: use the address that it says"
            )
        origin = headers.get(b"origin")
        if origin is not None and _host_of(origin.decode("latin-1").lower()) != host:
            raise _Refused(403, "a page of another origin may not ask")
        is_visit = headers.get(b"sec-fetch-mode") == b"navigate" and scope["method"] == "GET"
        # Older browsers do not say; a link in a letter may lead to the page, and to nothing else.
        if headers.get(b"sec-fetch-site") in (b"cross-site", b"same-site") and not (
            is_visit and scope["path"] == "/"
        ):
            raise _Refused(403, "a page of another origin may not ask")

    def _is_inside(self, headers: dict[bytes, bytes]) -> bool:
        # Other servers of this computer may have put anything beside it.
        for one in headers.get(b"cookie", b"").decode("latin-1").split(";"):
            name, _, value = one.strip().partition("=")
            if name == self._cookie and self._sessions.has(value):
                return True
        return False

    async def _enter(
        self,
        scope: Scope,
        receive: Receive,
        answer: _Answer,
        client: str,
        headers: dict[bytes, bytes],
    ) -> None:
        """Begin a session for whoever knows the token."""
        if scope["method"] != "POST":
            raise _Refused(405, "the token is posted from the form")
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind != b"application/x-www-form-urlencoded":
            raise _Refused(415, "the token is posted from the form")
        body = await _body(receive, headers, MOST_QUERY)
        # From here on without a pause: many tries at once are no more than one after another.
        if not (self._tries.has(client) and self._all_tries.has("")):
            raise _Refused(429, "too many wrong tokens: wait a minute", 60)
        try:
            given = parse_qs(body.decode(), max_num_fields=4).get("token", [""])[0]
        except ValueError:
            given = ""
        assert self._access.token is not None
        if not hmac.compare_digest(_digest(given.strip()), _digest(self._access.token.strip())):
            self._tries.take(client)
            self._all_tries.take("")
            answer.why = "wrong token"
            return await _ask_for_token(answer, "/", "That is not the token. " + ASKED, 403)
        is_secure = scope["scheme"] == "https" or headers.get(b"x-forwarded-proto") == b"https"
        cookie = (
            f"{self._cookie}={self._sessions.begin()}; Path=/; Max-Age={SESSION_S}; HttpOnly; "
            f"SameSite=Strict{'; Secure' if is_secure else ''}"
        )
        headers_out = [(b"location", b"/"), (b"set-cookie", cookie.encode())]
        await _send(answer, 303, b"", b"text/plain", headers_out)


class _Answer:
    """What goes out: with our headers, in pieces, without a body where only the head was asked."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.status = 0
        self.why = ""
        self._send = send
        self._is_head = scope["method"] == "HEAD"

    async def send(self, message: Message) -> None:
        """Pass on a message of the application."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), *HEADERS]
            names = {name for name, _ in headers}
            if b"cache-control" not in names:
                headers.append((b"cache-control", b"no-store"))
            return await self._send({**message, "headers": headers})
        if message["type"] != "http.response.body":
            return await self._send(message)
        body, is_more = message.get("body", b""), message.get("more_body", False)
        if self._is_head:
            body = b""
        for start in range(0, max(1, len(body)), PIECE):
            piece, is_last = body[start : start + PIECE], start + PIECE >= len(body)
            await self._send({**message, "body": piece, "more_body": is_more or not is_last})
        return None


async def _send(
    answer: _Answer,
    status: int,
    body: bytes,
    kind: bytes,
    headers: list[tuple[bytes, bytes]] | None = None,
) -> None:
    head = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await answer.send(
        {"type": "http.response.start", "status": status, "headers": [*head, *(headers or ())]}
    )
    await answer.send({"type": "http.response.body", "body": body})


async def _refuse(answer: _Answer, refusal: _Refused) -> None:
    headers = [(b"connection", b"close")]  # what is left of the request is not read
    if refusal.retry_after_s is not None:
        headers.append((b"retry-after", str(refusal.retry_after_s).encode()))
    body = json.dumps({"error": sentence(refusal.why)}).encode()
    await _send(answer, refusal.status, body, b"application/json", headers)


async def _ask_for_token(answer: _Answer, path: str, said: str, status: int = 401) -> None:
    if path.startswith(("/api/", "/static/")) or path == "/openapi.json":
        raise _Refused(401, "type the token into the form at / first")
    body = FORM.format(said=said).encode()
    await _send(answer, status, body, b"text/html; charset=utf-8")


async def _body(receive: Receive, headers: dict[bytes, bytes], most: int) -> bytes:
    """Return the body of a request, within limits of size and time."""
    too_large = _Refused(413, f"the body has more than {most:,} bytes")
    length = headers.get(b"content-length", b"0")
    if not length.isdigit():
        raise _Refused(400, "the length of the body is no number")
    if len(length) > 12 or int(length) > most:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _Refused(400, "the client went away")
                body += message.get("body", b"")
                if len(body) > most:
                    raise too_large
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise _Refused(408, f"the body was not there after {BODY_S:g} s") from None


def _replayed(body: bytes) -> Receive:
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Message:
        return next(messages, {"type": "http.disconnect"})

    return receive


_no_body_message = {"type": "http.request", "body": b"", "more_body": False}


async def _no_body() -> Message:
    return _no_body_message


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _client(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""


def _named(scope: Scope) -> str:
    """Name a request in one line: no query, nothing that a terminal would obey."""
    path = scope["path"][:80].encode("unicode_escape").decode()
    return f"{scope['method'][:10]} {path} from {_client(scope)}"


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
