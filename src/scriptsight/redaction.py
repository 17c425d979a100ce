"""What may stand in logs, tables and records: no password, no signature."""

from __future__ import annotations

import json
import re
from typing import Any

LONGEST_VALUE = 500  # characters, of a parameter or tag; every store takes these


def clean(value: Any) -> str:
    """A value as text for the record: no password of an address, no signature, no novel."""
    text = value if isinstance(value, str) else json.dumps(value)
    text = re.sub(r"(\w+://)[^/\s]*@", r"\1***@", text)
    text = re.sub(r"(\w+://[^?\s]*)\?\S*", r"\1?***", text)
    return text[:LONGEST_VALUE]
