"""`scriptsight drift` with a champion in a real store of MLflow, and what the pipeline makes of it under Prefect."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

from flows import parameters
from flows.experiments import drift
from flows.orchestration import artifacts, automations, newcomers
from flows.running.repository import StageOutcome
from flows.tracking import registry, store
from flows.tracking.reporter import WEIGHTS, opening
from flows.tracking.stage_run import StageRun
from scriptsight import overlap, profile
from scriptsight.cli import main
from scriptsight.errors import InputError
from scriptsight.models import bundle
from scriptsight.reporting import SilentReporter
from scriptsight.segments import Segments
from tests import small
from tests.drift.worlds import talks
from tests.flows.outcomes import hits, write_probe, write_retrieve

SEGMENTED = [StageOutcome("segment", "ran")]


@pytest.fixture
def champion(workspace: Path) -> parameters.Params:
    """A workspace whose champion learned from 14 narrated talks; another model has been trained since."""
    settings = parameters.load()
    talks(drift.SEGMENTS, "train", range(14), collection="narrated")
    small.tiny_bundle(registry.BUNDLE, seed=1)
    learned = [("narrated", Segments(drift.SEGMENTS, "narrated", "train"))]
    overlap.write(registry.BUNDLE, overlap.videos(learned))
    profile.write(registry.BUNDLE, bundle.load(registry.BUNDLE), learned, [], SilentReporter())
    write_probe(Path("plots/probe"), linear_top1=hits(0.5))
    write_retrieve(Path("plots/retrieve"), t2v=[1, 2, 3], v2t=[1, 1, 1])
    for stage in ("probe", "retrieve"):  # as tracked() does, without a process for each
        run = StageRun(opening(stage, settings))
        run.take({"artifact": f"plots/{stage}/outcomes.csv"})
        run.take({"metrics": {"probe/random_init/linear_top1": 0.3, "probe/chance": 0.1}, "step": 0, "time": 0})
        run.close("FINISHED")
    assert registry.publish(settings).status == "champion"
    WEIGHTS.write_bytes(b"another model")
    return settings


def test_the_champion_gets_the_answer(champion: parameters.Params, capsys: pytest.CaptureFixture[str]) -> None:
    """Its own folder is taken from MLflow; the version gets tags, its run the picture."""
    made = drift.report(champion)
    assert "There are no new videos" in made.line
    talks(drift.SEGMENTS, "test", range(50, 62), collection="narrated", dark=True)
    drift.command(_options("--json"))
    found = json.loads(capsys.readouterr().out)
    assert found["model"] == "version 1 of scriptsight (the champion)"
    assert [one["name"] for one in found["findings"] if one["verdict"] == "differs"] == ["look"]
    assert json.loads((drift.PLOTS / "drift.json").read_text()) == found
    with store.opened() as client:
        version = store.model_version(client, "scriptsight", "champion")
        assert (version.tags["drift_verdict"], version.tags["drift_new_videos"]) == ("differs", "12")
        assert version.tags["drift_look"].startswith("differs: 0.")
        kept = {file.path for file in client.list_artifacts(version.run_id, "drift")}
        assert kept == {"drift/drift.md", "drift/drift.png"}
    with pytest.raises(InputError, match="'nobody' is no folder with a model"):
        drift.report(champion, "nobody")
    shutil.copytree(registry.BUNDLE, "other")
    with pytest.raises(InputError, match="model in other is damaged"):
        drift.report(champion, "other")


def _options(*words: str) -> Any:
    """As the command line reads them."""
    import argparse

    from flows import commands

    parser = argparse.ArgumentParser()
    commands.drift(parser)
    return parser.parse_args(words)


@pytest.mark.usefixtures("new_events")
def test_the_pipeline_tells_and_goes_on(champion: parameters.Params, prefect_server: str) -> None:
    """An event and a line for the page where something differs; a champion that can't be asked is a line, too."""
    talks(drift.SEGMENTS, "test", range(50, 62), collection="narrated", dark=True)
    lines: list[str] = []

    @flow(persist_result=False)
    def pipeline() -> None:
        assert newcomers.look([StageOutcome("segment", "skipped")]) == ""
        assert newcomers.look([StageOutcome("ingest", "ran")]) == ""
        lines.append(newcomers.look(SEGMENTED))
        shutil.rmtree(drift.SEGMENTS)
        lines.append(newcomers.look(SEGMENTED))

    settings = {PREFECT_API_URL: prefect_server, PREFECT_LOGGING_TO_API_ENABLED: False}
    with temporary_settings(settings), get_client(sync_client=True) as client:
        pipeline()
        assert lines[0].startswith("12 new videos differ from what the model learned from: what is seen: ")
        assert lines[1].startswith("the new videos were not compared with what the champion learned from: drift: ")
        assert "run the segment stage first" in lines[1]
        deadline = time.monotonic() + 120
        while lines[0] not in _told(client):
            assert time.monotonic() < deadline, "no event came"
            time.sleep(0.5)
    assert f"### The new videos\n\n```text\n{lines[0]}\n```" in artifacts.report([], "", lines[0])


def _told(client: Any) -> list[str]:
    """What events of new videos say; the server is that of other tests as well."""
    wanted = {"filter": {"event": {"name": [automations.DRIFT]}}}
    found = client.request("POST", "/events/filter", json=wanted).json()["events"]
    return [one["payload"]["why"] for one in found]


def test_without_a_champion(workspace: Path) -> None:
    """The pipeline asks nobody, and makes no store for it; by hand the model at hand is asked."""
    assert newcomers.look(SEGMENTED) == ""
    assert not Path("mlruns").exists()
    small.tiny_bundle(registry.BUNDLE)
    with pytest.raises(SystemExit, match="models/pretrained does not say what the videos look like that it learned"):
        main(["drift"])
