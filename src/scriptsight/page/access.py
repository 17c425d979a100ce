"""Who may use the page, and what every answer says to the browser about what it may do."""

from __future__ import annotations

from dataclasses import dataclass

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True)
class Access:
    """Where the page is served."""

    host: str = "127.0.0.1"
    port: int = 8000
    password: str | None = None
