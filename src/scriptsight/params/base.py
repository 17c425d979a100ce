"""What the sections of all stages share: strict models and small types."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

Split = Literal["train", "val", "test"]
Share = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
# A name becomes a folder: no separators, no dots that climb out of it.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]*$", max_length=64)]

CACHE_GB = 50.0  # of copies of shards that lie elsewhere, for who has no parameters


class Machine:
    """Marks a parameter that says where, how fast or how safely it is worked, not what comes out, but for the last
    bits of numbers: another value makes no stage stale, and is no parameter of a run in MLflow.

    A time limit has no such mark: it decides which videos are rejects.
    """


MACHINE = Machine()


class Section(BaseModel):
    """What all sections share: no unknown key, no conversion of types, no change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    # Keys that had another name in an earlier version, old -> new: whoever still writes the old one is told.
    RENAMED: ClassVar[dict[str, str]] = {}
