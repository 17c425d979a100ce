"""Who may use the page, from where, and what every answer tells the browser that it may do."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import logging
import secrets
import socket
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from jinja2 import Environment
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scriptsight.errors import InputError

PASSWORD = "SCRIPTSIGHT_PAGE_PASSWORD"  # noqa: S105 - the name of the variable
SHORTEST = 8  # characters of a password
COOKIE = "scriptsight-page"
STAYS = 7 * 24 * 3600.0  # seconds that a login lasts
TRIES = 5  # wrong passwords from one address before it has to wait
SLOW = 0.5  # seconds that a wrong password costs
REST = 30.0  # seconds that an address waits after TRIES, and twice as long after each further one, up to LONGEST
LONGEST = 900.0
ADDRESSES = 1000  # of which wrong passwords are remembered
SMALL = 200_000  # bytes of a body, but for a clip
CLIP = 64 * 2**20  # bytes of a clip
KINDS = {"/api/clip": "multipart/form-data", "/login": "application/x-www-form-urlencoded", "/logout": ""}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Access:
    """Where the page is served, and the password that it asks for.

    Raises:
        InputError: other machines could reach it, and there is no password, or a very short one.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    password: str | None = None
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)  # logins end with the process

    def __post_init__(self) -> None:
        if not self.password and not is_loopback(self.host):
            raise InputError(
                f"On {self.host} others can reach the page: set a password for it in {PASSWORD}, or leave out --host."
            )
        if self.password and len(self.password) < SHORTEST:
            raise InputError(f"The password in {PASSWORD} is too short: {SHORTEST} characters at least.")

    def serves(self, host: str) -> bool:
        """Whether a Host header is one of this server. A name that somebody points at this machine to make a browser
        read it for them (DNS rebinding) is none."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        own = {"localhost", "127.0.0.1", "::1", self.host.lower().strip("[]")}
        if name in own or is_loopback(name):
            return True
        # Reached from elsewhere, by an address, which nobody can point elsewhere, or by the machine's own name.
        return not is_loopback(self.host) and (_is_address(name) or name in _own_names())

    def cookie(self) -> str:
        """A login: until when it is good, something random, and the signature of both."""
        body = f"{time.time() + STAYS:.0f}.{secrets.token_hex(8)}"
        return f"{body}.{self._signed(body)}"

    def knows(self, cookie: str) -> bool:
        """Whether a cookie is a login of this server that is still good."""
        body, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(self._signed(body).encode(), signature.encode()):
            return False
        return float(body.partition(".")[0]) > time.time()

    def _signed(self, body: str) -> str:
        return hmac.new(self.secret, body.encode(), hashlib.sha256).hexdigest()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _own_names() -> set[str]:
    return {socket.gethostname().lower(), socket.getfqdn().lower()}


class Guard:
    """Turns away what does not come from the page itself, or not from somebody who knows the password; limits bodies;
    adds `HEADERS` to every answer."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)  # "lifespan" alone: there are no web sockets
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, _with_headers(send))
        else:
            most = CLIP + SMALL if scope["path"] == "/api/clip" else SMALL
            await self._app(scope, _limited(receive, most), _with_headers(send))

    def _refusal(self, scope: Scope) -> Response | None:
        headers, path = Headers(scope=scope), scope["path"]
        if not self._access.serves(headers.get("host", "")):
            return _refused(403, "This server does not go by that name.", "Use the address that it printed.")
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return _refused(405, "Only GET, HEAD and POST are answered.")
        if scope["method"] == "POST":
            origin = urlsplit(headers.get("origin", ""))
            if origin.scheme not in ("http", "https") or origin.netloc != headers.get("host"):
                return _refused(403, "This was not sent by the page itself.")
            wanted = KINDS.get(path, "application/json")
            if wanted and headers.get("content-type", "").partition(";")[0].strip().lower() != wanted:
                return _refused(415, f"This takes {wanted}.")
        elif headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
            return _refused(403, "Other sites may link to the page, and no more.")
        if self._access.password and not _open_to_all(path) and not self._knows(headers):
            if path.startswith(("/api/", "/video/", "/strip/")):
                return _refused(401, "Log in first.", "/login")
            asked = path + ("?" + scope["query_string"].decode("latin-1") if scope["query_string"] else "")
            return RedirectResponse(f"/login?{urlencode({'next': asked})}", status_code=303)
        return None

    def _knows(self, headers: Headers) -> bool:
        return self._access.knows(Request({"type": "http", "headers": headers.raw}).cookies.get(COOKIE, ""))


def _open_to_all(path: str) -> bool:
    """What the page for logging in consists of."""
    return path == "/login" or path.startswith("/static/")


def _refused(status: int, error: str, remedy: str = "") -> Response:
    return JSONResponse({"error": error, "remedy": remedy}, status_code=status)


def _limited(receive: Receive, most: int) -> Receive:
    """A body of `most` bytes: what is beyond is not read."""
    seen = 0

    async def limited() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > most:
            raise HTTPException(413, f"This is over {most // 2**20 or 1} MB, which is too large.")
        return message

    return limited


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return sending


class Failures:
    """Wrong passwords by the address that they came from, of late."""

    def __init__(self) -> None:
        self._of: OrderedDict[str, tuple[int, float]] = OrderedDict()  # address -> how many, and when the last

    def wait(self, address: str) -> float:
        """Seconds until this address may try again."""
        count, last = self._of.get(address, (0, 0.0))
        if count < TRIES:
            return 0.0
        return max(0.0, last + min(REST * 2.0 ** min(count - TRIES, 10), LONGEST) - time.monotonic())

    def add(self, address: str) -> None:
        """One more."""
        count, _ = self._of.pop(address, (0, 0.0))
        self._of[address] = count + 1, time.monotonic()
        if len(self._of) > ADDRESSES:
            self._of.popitem(last=False)

    def forget(self, address: str) -> None:
        """It knew the password."""
        self._of.pop(address, None)


def routes(access: Access, templates: Environment) -> list[Route]:
    """Logging in and out; none where there is no password."""
    failures = Failures()

    def shown(error: str = "", following: str = "", status: int = 200, **headers: str) -> Response:
        html = templates.get_template("login.html").render(error=error, next=following)
        return HTMLResponse(html, status, headers)

    def form(request: Request) -> Response:
        return shown(following=_own_page(request.query_params.get("next", "")))

    async def login(request: Request) -> Response:
        address = request.client.host if request.client else ""
        async with request.form(max_files=0, max_fields=4) as given:
            password, following = str(given.get("password", "")), _own_page(str(given.get("next", "")))
        if (wait := failures.wait(address)) > 0:
            told = f"Too many wrong passwords: try again in {wait:.0f} seconds."
            return shown(told, following, 429, **{"Retry-After": f"{wait:.0f}"})
        # Both as digests: equal lengths, whatever was typed.
        digests = [hashlib.sha256(text.encode()).digest() for text in (password, access.password or "")]
        if not hmac.compare_digest(*digests):
            failures.add(address)
            _LOG.warning("a wrong password from %s", address)
            await asyncio.sleep(SLOW)
            return shown("This is not the password.", following, 403)
        failures.forget(address)
        answer = RedirectResponse(following or "/", status_code=303)
        secure = request.headers.get("origin", "").startswith("https:")
        answer.set_cookie(
            COOKIE, access.cookie(), max_age=int(STAYS), httponly=True, samesite="strict", secure=secure
        )
        return answer

    def logout(request: Request) -> Response:
        answer = RedirectResponse("/login", status_code=303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer

    if not access.password:
        return []
    return [
        Route("/login", form),
        Route("/login", login, methods=["POST"]),
        Route("/logout", logout, methods=["POST"]),
    ]


def _own_page(address: str) -> str:
    """An address on this server, to go to after the login; "" for any other."""
    is_own = address.startswith("/") and not address.startswith(("//", "/\\"))
    return address if is_own and address.isprintable() else ""
