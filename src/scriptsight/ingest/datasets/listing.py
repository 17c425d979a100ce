"""Which files there are below a folder or a bucket prefix: listed once, then looked up by name.

Names that an annotation file gives are compared with this list and never joined to a path, so that no row can
reach a file outside of the folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import fsspec

from scriptsight.errors import InputError
from scriptsight.redaction import redacted

VIDEOS = frozenset(
    {".3g2", ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv"}
    | {".ts", ".vob", ".webm", ".wmv"}
)
IMAGES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp"})


def address(folder: str, relative: str) -> str:
    """The address of a listed file, in the form that `folder` has: a local path or an fsspec address."""
    return relative if folder in ("", ".") else f"{folder.rstrip('/')}/{relative}"


def check_address(given: str) -> None:
    """Refuse an address that may hold a secret, such as a password or a token: it would go into the catalogue with
    every video.

    Raises:
        InputError: it does; the message does not repeat it.
    """
    if redacted(given) != given:
        raise InputError(
            f"The address {redacted(given)} of a collection holds what may be a password or a token: take out what "
            "is *** here, credentials come from the environment."
        )


def unsafe(name: str) -> bool:
    """Whether a name climbs, is absolute, or would mean something else in an address (`::` chains fsspec's)."""
    parts = name.replace("\\", "/").split("/")
    return ".." in parts or parts[0] == "" or "::" in name or "\0" in name or not is_text(name)


def is_text(name: str) -> bool:
    """File names that are no UTF-8 come as lone surrogates, which no table can hold."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


class Listing:
    """The files below `folder` (a local path or an fsspec address) that end in one of `suffixes`.

    At first use one `find` of fsspec lists all, on S3 with a request a thousand files; links to folders are not
    followed. It is held in memory.

    Attributes:
        folder: as it was given.
        unnameable: names, once listed, that can't be used: not UTF-8, or with `::` in them.

    Raises:
        InputError: the address holds a password; at first use: the folder is missing, can't be listed, or holds none
            of these files.
    """

    def __init__(self, folder: str, suffixes: frozenset[str] | None = VIDEOS) -> None:
        check_address(folder)
        self.folder = folder
        self.unnameable: list[str] = []
        self._suffixes = suffixes

    @cached_property
    def _by_stem(self) -> dict[str, str | list[str]]:
        """File name without suffix -> the one file, or the several, relative to the folder."""
        by_stem: dict[str, str | list[str]] = {}
        for relative in find(self.folder):
            if self._suffixes is not None and _suffix(relative) not in self._suffixes:
                continue
            if unsafe(relative):
                self.unnameable.append(relative)
                continue
            stem = self._without_suffix(relative.rsplit("/", 1)[-1])
            known = by_stem.setdefault(stem, relative)
            if isinstance(known, list):
                known.append(relative)
            elif known is not relative:
                by_stem[stem] = [known, relative]
        if not by_stem:
            kinds = f" that ends in {' '.join(sorted(filter(None, self._suffixes)))}" if self._suffixes else ""
            raise InputError(f"No file{kinds} is in {self.folder}: correct the collection's paths.")
        return by_stem

    def __iter__(self) -> Iterator[str]:
        """All files, relative to the folder, in order."""
        relatives = []
        for found in self._by_stem.values():
            relatives += [found] if isinstance(found, str) else found
        return iter(sorted(relatives))

    def address(self, relative: str) -> str:
        """Where a listed file lies."""
        return address(self.folder, relative)

    def matches(self, *names: str) -> list[str]:
        """The files, relative to the folder, that the first matching of `names` fits; best one name, one file.

        A name is a file name or the end of a path, with or without suffix: `a/b.mp4` and `a/b` fit `x/a/b.mp4`, and
        `a/b.avi` does, too, as datasets are often converted. Of several, those with the very suffix go first.
        """
        for name in names:
            for whole in (self._without_suffix(name), name):
                found = self._by_stem.get(whole.rsplit("/", 1)[-1], [])
                fitting = [
                    relative
                    for relative in ([found] if isinstance(found, str) else found)
                    if f"/{self._without_suffix(relative)}".endswith(f"/{whole}")
                ]
                exact = [relative for relative in fitting if f"/{relative}".endswith(f"/{name}")]
                if fitting:
                    return exact or fitting
        return []

    def _without_suffix(self, name: str) -> str:
        suffix = _suffix(name)
        return name[: len(name) - len(suffix)] if suffix and suffix in (self._suffixes or VIDEOS) else name


def _suffix(name: str) -> str:
    base = name.rsplit("/", 1)[-1]
    return "." + base.rsplit(".", 1)[1].lower() if "." in base.lstrip(".") else ""


def find(folder: str) -> list[str]:
    """All files below a folder (a local path or an fsspec address), relative to it.

    Raises:
        InputError: it is missing, or can't be listed.
    """
    try:
        system, root = fsspec.core.url_to_fs(folder)
        found = system.find(root)
        if not found and not system.exists(root):
            raise InputError(
                f"There is no folder {folder}: correct the collection's paths (they start at the workspace)."
            )
    except InputError:
        raise
    except ImportError as error:
        raise InputError(f"{folder} can't be listed: {error}") from None
    except Exception as error:  # every file system has errors of its own
        # Not the error's text: that of an object store may quote the request, with what signs it.
        raise InputError(
            f"{folder} can't be listed ({type(error).__name__}): check the address, the network and, of a private "
            "bucket, the credentials in the environment."
        ) from None
    root = root.rstrip("/")
    # A prefix of a bucket that is itself a file is no folder.
    return [path[len(root) + 1 :] for path in found if len(path) > len(root) + 1 and not path.endswith("/")]
