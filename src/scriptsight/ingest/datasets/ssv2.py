"""Something-Something v2: clips of people doing something with something, 174 classes.

Layout (the form that Qualcomm publishes): train.json and validation.json are lists of
`{"id": "78687", "label": "holding potato next to vicks vaporub bottle", "template": "Holding [something] next to
[something]", "placeholders": [...]}`; test.json has the ids only; the videos are `ID.webm`. The class is the template
without its brackets, as in labels.json; the label in words is the clip's caption. The papers report on validation,
so that it is the test here. In params.yaml:

    ssv2:
      kind: ssv2
      path: ssv2/20bn-something-something-v2
      annotations: {train: ssv2/train.json, test: ssv2/validation.json}
      val_share: 0.05   # of training
"""

from __future__ import annotations

from collections.abc import Iterator

from scriptsight.catalogue import Reject
from scriptsight.ingest.datasets import tables
from scriptsight.ingest.datasets.claims import Claim, assemble
from scriptsight.ingest.datasets.listing import Listing
from scriptsight.ingest.datasets.splits import with_val
from scriptsight.ingest.sources import Entry, Listed
from scriptsight.params.collections import Ssv2Collection

SHAPE = 'a JSON list of {"id": ..., "label": ..., "template": ...}, such as train.json'


def entries(name: str, collection: Ssv2Collection) -> Listed:
    """List the labelled clips; see the module for the layout.

    Raises:
        InputError: a file or a folder is missing or has another form.
    """
    return assemble(name, _claims(name, collection), Listing(collection.path))


def _claims(name: str, collection: Ssv2Collection) -> Iterator[Claim | Reject]:
    for split, path in collection.annotations.items():
        for where, row in tables.items(path, "item", SHAPE):
            if (found := tables.texts(row, "id")) is None:
                yield Reject(name, where, tables.BAD_ROW, "there is no id")
                continue
            (key,) = found
            template, label = tables.texts(row, "template"), tables.texts(row, "label")
            entry = Entry(
                key,
                with_val(split, key, collection.val_share),
                "",
                captions=label or (),
                label=template[0].replace("[", "").replace("]", "") if template else None,
            )
            yield Claim(where, entry, (key,))
