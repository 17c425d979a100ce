"""What a release says of itself agrees with the package."""

from __future__ import annotations

import re
from importlib.metadata import metadata

from ruamel.yaml import YAML

from tests.small import PROJECT


def test_citation_and_changelog_speak_of_this_version() -> None:
    package = metadata("scriptsight")
    citation = YAML(typ="safe", pure=True).load(PROJECT / "CITATION.cff")
    assert (citation["cff-version"], citation["title"]) == ("1.2.0", package["Name"])
    assert (citation["version"], citation["license"]) == (package["Version"], package["License-Expression"])
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    for work in citation["references"]:  # the papers of the methods
        assert work["title"] in " ".join(readme.split())
    sections = re.findall(r"^## \[(.+?)\]", (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sections[:2] == ["Unreleased", package["Version"]]
