"""Several objectives over one encoder: the sum of their losses by weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from torch import Tensor, nn

from scriptsight.models.bundle import Encoder
from scriptsight.pretrain.batches import Batch
from scriptsight.training.objective import Draw, Objective

V = TypeVar("V")


class Joint(Objective):
    """loss = sum of weight * loss over `parts`, {name: (objective, weight)}, all built around `encoder`.

    Each part encodes the clip in its own way. Figures carry the name of their part; the first part's headline says
    which weights are best.
    """

    def __init__(self, encoder: Encoder, parts: Mapping[str, tuple[Objective, float]]) -> None:
        super().__init__()
        self.encoder = encoder
        self.parts = nn.ModuleDict({name: part for name, (part, _) in parts.items()})
        self.weights = {name: weight for name, (_, weight) in parts.items()}
        for part in self.parts.values():
            # Known to the part, but no child of it: the weights of the encoder are saved, and wrapped, once.
            del part.encoder
            object.__setattr__(part, "encoder", encoder)
        first = next(iter(parts))
        self.headline = f"{first}/{self.objectives[first].headline}"

    @property
    def objectives(self) -> dict[str, Objective]:
        return dict(self.parts.items())  # type: ignore[arg-type]

    def losses(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """ "loss", and all that the parts give under NAME/."""
        found = {name: part.losses(batch, draw) for name, part in self.objectives.items()}
        figures = {f"{name}/{key}": value for name, part in found.items() for key, value in part.items()}
        total = sum(self.weights[name] * part["loss"] for name, part in found.items())
        assert isinstance(total, Tensor)
        return {"loss": total, **figures}

    def measure(self, batch: Batch) -> dict[str, Tensor]:
        """What the parts measure, under NAME/."""
        return {
            f"{name}/{key}": value
            for name, part in self.objectives.items()
            for key, value in part.measure(batch).items()
        }

    def figures(self, parts: Sequence[dict[str, Tensor]]) -> dict[str, Any]:
        """The figures of the parts, under NAME/."""
        figures: dict[str, Any] = {}
        for name, objective in self.objectives.items():
            own = objective.figures([_own(part, name) for part in parts])
            figures |= {f"{name}/{key}": value for key, value in own.items()}
        return figures

    def expect(self, pairs: Iterable[tuple[str, str | None]]) -> None:
        pairs = list(pairs)
        for part in self.objectives.values():
            part.expect(pairs)

    def before_step(self, step: int, validation: Sequence[dict[str, float]]) -> None:
        for name, part in self.objectives.items():
            part.before_step(step, [_own(point, name) for point in validation])

    def memory(self) -> dict[str, Tensor]:
        return {f"{name}/{key}": v for name, part in self.objectives.items() for key, v in part.memory().items()}

    def remember(self, memory: dict[str, Tensor]) -> None:
        for name, part in self.objectives.items():
            if own := _own(memory, name):
                part.remember(own)

    def after_step(self) -> None:
        for part in self.objectives.values():
            part.after_step()


def _own(values: Mapping[str, V], name: str) -> dict[str, V]:
    """What is under NAME/, without it."""
    return {key.removeprefix(f"{name}/"): value for key, value in values.items() if key.startswith(f"{name}/")}
