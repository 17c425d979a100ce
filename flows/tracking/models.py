"""MLflow's logged models: a run's trained weights, to which its figures belong.

There is one for each run with weights. Its files are stored when it is registered (`registry`); until then MLflow
takes it for one that lies elsewhere.
"""

from __future__ import annotations

from typing import Any

from mlflow.entities import LoggedModelOutput, Metric
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_IS_EXTERNAL

WORTH = ("probe/", "retrieve/", "val/", "speed/")  # figures that are of the model, and of nothing else
KIND = "embedding"
AT_ONCE = 1000  # the most figures that MLflow takes


def of_run(client: Any, run: Any) -> Any:
    """The logged model of a run, or None."""
    outputs = run.outputs.model_outputs if run.outputs else []
    for output in reversed(outputs):
        try:
            return client.get_logged_model(output.model_id)
        except MlflowException as error:  # somebody deleted it
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
    return None


def ensure(client: Any, run_id: str) -> Any:
    """The logged model of a run whose weights are known by its tag `weights_digest`; made, with the figures that the
    run has already, if there is none."""
    run = client.get_run(run_id)
    found = of_run(client, run)
    if found is not None:
        return found
    digest = run.data.tags["weights_digest"]
    made = client.create_logged_model(
        run.info.experiment_id,
        name=f"model-{digest[:8]}",
        source_run_id=run_id,
        tags={"weights_digest": digest, MLFLOW_MODEL_IS_EXTERNAL: "true"},
        params=dict(run.data.params),
        model_type=KIND,
    )
    client.finalize_logged_model(made.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(made.model_id, step=0)])
    _tie(client, run, made.model_id)
    return client.get_logged_model(made.model_id)


def _tie(client: Any, run: Any, model_id: str) -> None:
    """Have the figures of a run, as an older version recorded them, belong to its model."""
    run_id = run.info.run_id
    points = [client.get_metric_history(run_id, name)[-1] for name in run.data.metrics if name.startswith(WORTH)]
    of_model = [Metric(one.key, one.value, one.timestamp, one.step, model_id=model_id) for one in points]
    for start in range(0, len(of_model), AT_ONCE):
        client.log_batch(run_id, metrics=of_model[start : start + AT_ONCE])


def stored(client: Any, model_id: str) -> None:
    """The files of a logged model are in MLflow now."""
    if MLFLOW_MODEL_IS_EXTERNAL in client.get_logged_model(model_id).tags:
        client.delete_logged_model_tag(model_id, MLFLOW_MODEL_IS_EXTERNAL)
