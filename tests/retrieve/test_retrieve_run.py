import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from scriptsight import clips, params, retrieve
from scriptsight.errors import InputError
from scriptsight.files import digest
from scriptsight.models import bundle
from scriptsight.reporting import ConsoleReporter
from scriptsight.segments import Segments
from tests import small


def run(workspace: Path, chosen: params.Retrieve, name: str = "out") -> retrieve.Result:
    return retrieve.run(
        chosen,
        segments=workspace / "segments",
        bundle=workspace / "model",
        index=workspace / name / "index",
        metrics=workspace / name / "retrieve.json",
        plots=workspace / name / "plots",
        reporter=ConsoleReporter(),
    )


def test_run_writes_metrics_index_and_pictures_and_repeats_to_the_byte(
    workspace: Path, chosen: params.Retrieve
) -> None:
    result = run(workspace, chosen)
    written = json.loads((workspace / "out" / "retrieve.json").read_text())
    assert written == result.metrics
    assert list(written) == ["t2v", "v2t", "gallery", "chance_r1"]
    assert list(written["t2v"]) == list(written["v2t"]) == ["r1", "r5", "r10", "median_rank"]
    assert (written["gallery"], written["chance_r1"]) == (5, 0.2)  # the silent one is not asked for
    assert len(pq.read_table(workspace / "out" / "index" / "moments.parquet")) == 11  # but it is found
    run(workspace, chosen, "again")
    files = [path.relative_to(workspace / "out") for path in (workspace / "out").rglob("*") if path.is_file()]
    assert sorted(map(str, files)) == [
        "index/config.json",
        "index/embeddings.npy",
        "index/moments.parquet",
        "plots/moments.png",
        "plots/ranks.png",
        "retrieve.json",
    ]
    for file in files:
        assert digest(workspace / "out" / file) == digest(workspace / "again" / file), file


def test_metrics_equal_a_naive_loop_over_encoded_segments(workspace: Path, chosen: params.Retrieve) -> None:
    encoder = bundle.load(workspace / "model")
    spoken = [segment for segment in Segments(workspace / "segments", "c", "test") if segment.cues]
    videos = [encoder.encode_video(_frames(segment))[0].double() for segment in spoken]
    texts = [encoder.encode_scripts([[cue.text for cue in segment.cues]])[0].double() for segment in spoken]
    for way, queries, gallery in (("t2v", texts, videos), ("v2t", videos, texts)):
        ranks = [
            1 + sum(float(query @ other) >= float(query @ gallery[i]) for j, other in enumerate(gallery) if j != i)
            for i, query in enumerate(queries)
        ]
        found = run(workspace, chosen).metrics[way]
        assert found["median_rank"] == np.median(ranks)
        assert found["r1"] == np.mean([rank <= 1 for rank in ranks])


def _frames(segment):  # type: ignore[no-untyped-def]
    import torch

    return torch.from_numpy(clips.whole(segment, 4, 16))[None]


def test_run_needs_two_segments_with_text(workspace: Path, chosen: params.Retrieve) -> None:
    small.write_segments(workspace / "segments", "c", "test", [small.segment("a", texts=["one"]), small.segment("b")])
    with pytest.raises(InputError, match=r"c/test has 1 segments with text.*retrieve\.split"):
        run(workspace, chosen)


def test_captions_serve_where_there_are_no_cues(workspace: Path, chosen: params.Retrieve) -> None:
    rows = [small.segment(name, captions=[f"the {name} circle"]) for name in ("red", "blue", "green")]
    small.write_segments(workspace / "segments", "c", "test", rows)
    assert run(workspace, chosen.model_copy(update={"queries": ()})).metrics["gallery"] == 3
