"""The model that MLflow serves: texts or videos in, unit vectors of their shared space out.

MLflow keeps this file beside the bundle and runs it where the model is served ("models from code"), so that nothing
is pickled. A request is a table with one row an item: its `text`, or its `video`, a file below the folder that
the server's owner names in SCRIPTSIGHT_SERVE_ROOT. Without that folder no video is served.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel

from scriptsight import films
from scriptsight.errors import InputError
from scriptsight.models import bundle

ROOT = "SCRIPTSIGHT_SERVE_ROOT"
ROWS = 1024  # in one request
LETTERS = 10_000  # of one text
BATCH = 128  # texts encoded at a time
# Containers that hold their own pictures. FFmpeg also reads playlists, which name files elsewhere and addresses.
FORMATS = "mov,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf,gif"


class Embedder(PythonModel):
    """Answers tables of texts and videos with vectors."""

    def load_context(self, context: Any) -> None:
        self._encoder = bundle.load(context.artifacts["bundle"])

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> np.ndarray:
        """A table with a column `text`, `video` or both, one of them filled a row -> unit vectors float32 [N, E].

        A video is the mean of its windows of at most a minute.

        Raises:
            MlflowException: a row that can't be answered, which an HTTP client gets as status 400.
        """
        texts, videos = (_column(model_input, name) for name in ("text", "video"))
        if len(model_input) > ROWS:
            raise refusal(f"{len(model_input)} rows in one request: send {ROWS} at most.")
        for number, (text, video) in enumerate(zip(texts, videos, strict=True)):
            if (text is None) == (video is None):
                raise refusal(f"row {number} needs a text or a video, one of the two.")
            if text is not None and len(text) > LETTERS:
                raise refusal(f"the text of row {number} has over {LETTERS} letters.")
        vectors = np.empty((len(model_input), self._encoder.embed_dim), dtype=np.float32)
        spoken = [number for number, text in enumerate(texts) if text is not None]
        for start in range(0, len(spoken), BATCH):
            rows = spoken[start : start + BATCH]
            vectors[rows] = self._encoder.encode_text([str(texts[row]) for row in rows]).cpu().numpy()
        for row, video in enumerate(videos):
            if video is not None:
                vectors[row] = self._watch(video, row)
        return vectors

    def _watch(self, video: str, row: int) -> np.ndarray:
        """A video file -> its unit vector [E]."""
        path = inside(video, row)
        try:
            with av.open(str(path), options={"format_whitelist": FORMATS, "protocol_whitelist": "file"}):
                pass
            return films.mean(films.embed(path, self._encoder).vectors)
        except (av.FFmpegError, InputError, OSError) as error:
            # What FFmpeg says of a file names its whole path, which is the owner's own business.
            raise refusal(f"the video of row {row} can't be read ({type(error).__name__}).") from None


def inside(name: str, row: int) -> Path:
    """The file `name` below the folder that the server's owner named.

    Raises:
        MlflowException: no folder was named, or the file is not there: one message for what is missing and for what
            lies outside, so that nobody can find out what else the machine holds.
    """
    root = os.environ.get(ROOT)
    if not root:
        raise refusal(f"this server serves no videos: its owner names a folder of them in {ROOT} to allow it.")
    try:
        home = Path(root).resolve(strict=True)
        path = (home / name).resolve(strict=True)  # links are followed, so that none leads out unseen
        if path.is_relative_to(home) and path.is_file():
            return path
    except (OSError, ValueError, RuntimeError):  # missing, a NUL in the name, links in a ring
        pass
    raise refusal(f"the video of row {row} is not among those of this server.")


def refusal(message: str) -> MlflowException:
    """What an HTTP client gets as status 400."""
    return MlflowException(f"scriptsight: {message}", error_code=INVALID_PARAMETER_VALUE)


def _column(table: pd.DataFrame, name: str) -> Sequence[str | None]:
    """A column's cells; None where there is none, or nothing in it."""
    if name not in table.columns:
        return [None] * len(table)
    return [cell if isinstance(cell, str) and cell.strip() else None for cell in table[name]]


set_model(Embedder())
