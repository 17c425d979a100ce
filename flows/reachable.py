"""Whether a server answers at an address, and whether a port is taken."""

from __future__ import annotations

import http.client
import socket
import urllib.error
import urllib.parse
import urllib.request


def answers(url: str, seconds: float = 3) -> bool:
    """Whether the server at this http(s) address is up.

    Any answer but one of a failing server counts: it may ask for a password, a proxy may not know /health.
    """
    try:
        address = urllib.parse.urlsplit(url.rstrip("/") + "/health")
        address = address._replace(netloc=address.netloc.rpartition("@")[2])  # urllib opens none with a password
        with urllib.request.urlopen(address.geturl(), timeout=seconds):  # noqa: S310 - configured
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500
    except (OSError, ValueError, http.client.HTTPException):
        return False


def shows(url: str, seconds: float = 10) -> bool:
    """Whether there is a page for people at this http(s) address, perhaps behind a password."""
    try:
        address = urllib.parse.urlsplit(url)
        address = address._replace(netloc=address.netloc.rpartition("@")[2])
        asked = urllib.request.Request(address.geturl(), headers={"Accept": "text/html"})  # noqa: S310 - configured
        with urllib.request.urlopen(asked, timeout=seconds) as page:  # noqa: S310
            return str(page.headers.get_content_type()) == "text/html"
    except urllib.error.HTTPError as error:
        return error.code in (401, 403)
    except (OSError, ValueError, http.client.HTTPException):
        return False


def taken(port: int) -> bool:
    """Whether something listens on this loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
