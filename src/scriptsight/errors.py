"""The one exception a user is meant to read: it names what is wrong and what to do about it."""

from __future__ import annotations


class InputError(ValueError):
    """Input, parameters or surroundings with which a stage can't go on. The message names file and remedy."""
