"""`scriptsight automations`: what Prefect's server watches by itself. It may be run again at any time.

A flow killed with its machine is marked as crashed; without this it stays "Running" for ever. With --notify,
failures, worse models and videos unlike those of the champion are sent to a notification block. The server is that of
PREFECT_API_URL, or of `scriptsight ui`.
"""

from __future__ import annotations

import argparse
import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from flows import reachable
from flows.orchestration import server
from scriptsight import redaction
from scriptsight.errors import InputError

if TYPE_CHECKING:
    from prefect.automations import AutomationCore

LOST_SECONDS = 3 * server.HEARTBEAT_SECONDS  # without a heartbeat; a shorter time than one would crash what is well
WORSE = "scriptsight.model.worse"  # the event of a model that was measured and does not become the champion
DRIFT = "scriptsight.data.drift"  # the event of new videos that differ from what the champion learned from
FLOWS = ["pipeline", "sweep"]  # whose failures are reported: a stage's is its pipeline's, a study's its sweep's
FORMER = ("scriptsight: failures are told", "scriptsight: worse models are told")  # else they would notify as well
ENDS = ("Completed", "Failed", "Cancelled", "Crashed")


def command(options: argparse.Namespace) -> None:
    """Create the automations, and print their names."""
    url = os.environ.setdefault("PREFECT_API_URL", server.UI)
    if not reachable.answers(url):
        raise InputError(f"Prefect at {redaction.redacted(url)} does not answer: start it, as with `scriptsight ui`.")
    for name in create(options.notify):
        print(f"automations: {name}")


def create(notify: str | None = None, lost_seconds: float = LOST_SECONDS) -> list[str]:
    """Create the automations, or bring those that are there up to date -> their names.

    Args:
        notify: TYPE/NAME of a notification block; None leaves notifications as they are.

    Raises:
        InputError: there is no such block.
    """
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        wanted = [_crash(lost_seconds)]
        if notify:
            block = _block(client, notify)
            wanted += [_failure(block), _worse(block), _drift(block)]
        for name in (*(FORMER if notify else ()), *(automation.name for automation in wanted)):
            for found in client.read_automations_by_name(name):
                client.delete_automation(found.id)
        for automation in wanted:
            client.create_automation(automation)
    return [automation.name for automation in wanted]


def _block(client: Any, notify: str) -> UUID:
    from prefect.exceptions import ObjectNotFound

    kind, _, name = notify.partition("/")
    try:
        return UUID(str(client.read_block_document_by_name(name, kind).id))
    except ObjectNotFound:
        raise InputError(
            f"Prefect has no block {notify!r}: make one on its page (Blocks), and name it TYPE/NAME as in "
            "slack-webhook/team."
        ) from None


def _crash(lost_seconds: float) -> AutomationCore:
    from prefect.automations import AutomationCore, ChangeFlowRunState, EventTrigger, Posture
    from prefect.client.schemas.objects import StateType

    lost = f"No heartbeat for {lost_seconds:.0f} s: its process or machine is gone. The next run goes on from there."
    return AutomationCore(
        name="scriptsight: lost runs are crashed",
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.heartbeat", *(f"prefect.flow-run.{end}" for end in ENDS)},
            match={"prefect.resource.id": ["prefect.flow-run.*"]},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=lost_seconds),
        ),
        actions=[ChangeFlowRunState(name=None, state=StateType.CRASHED, message=lost, force=False)],
    )


def _failure(block: UUID) -> AutomationCore:
    from prefect.automations import AutomationCore, EventTrigger, Posture, SendNotification

    return AutomationCore(
        name="scriptsight: failures are reported",
        trigger=EventTrigger(
            expect={"prefect.flow-run.Failed", "prefect.flow-run.Crashed"},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related={"prefect.resource.role": "flow", "prefect.resource.name": FLOWS},
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[
            SendNotification(
                block_document_id=block,
                subject="scriptsight: {{ flow.name }} {{ flow_run.state.name }}",
                body="{{ flow_run.name }}: {{ flow_run.state.message }}\n{{ flow_run|ui_url }}",
            )
        ],
    )


def _worse(block: UUID) -> AutomationCore:
    from prefect.automations import AutomationCore, EventTrigger, Posture, SendNotification

    return AutomationCore(
        name="scriptsight: worse models are reported",
        trigger=EventTrigger(expect={WORSE}, posture=Posture.Reactive, threshold=1),
        actions=[
            SendNotification(
                block_document_id=block,
                subject="scriptsight: a new model is no better",
                body="{{ event.payload.why }}",
            )
        ],
    )


def _drift(block: UUID) -> AutomationCore:
    from prefect.automations import AutomationCore, EventTrigger, Posture, SendNotification

    return AutomationCore(
        name="scriptsight: videos unlike those learned from are reported",
        trigger=EventTrigger(expect={DRIFT}, posture=Posture.Reactive, threshold=1),
        actions=[
            SendNotification(
                block_document_id=block,
                subject="scriptsight: new videos differ from what the champion learned from",
                body="{{ event.payload.why }}",
            )
        ],
    )
