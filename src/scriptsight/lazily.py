"""Packages that import what they offer when it is asked for: `import scriptsight` takes milliseconds, and an extra of
the package is missed by those alone who use what needs it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def offered(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` (PEP 562) of a package that offers names which live in other modules.

    Args:
        homes: name -> its module, as `a.b`, or `a.b:name` where it has another name there, or `a.b:` where it is the
            module itself.
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home, colon, own = homes[name].partition(":")
        module = import_module(home)
        value = module if colon and not own else getattr(module, own or name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return get, names
