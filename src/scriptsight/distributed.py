"""The processes of one training: torch's own DDP and FSDP (fully_shard) under torchrun; alone, nothing of it.

torch's engines rather than accelerate's wrapping of them: on processors accelerate turns a wish for FSDP into DDP
without a word, so that what a test sees would not be what a GPU does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

PATIENCE = timedelta(minutes=30)  # for one another: validation and checkpoints take their time


def launched() -> bool:
    """Whether this process is one of several that torchrun started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def rank() -> int:
    """This process's number, 0 for the first and when alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Be one of the processes that torchrun started, inside the block; alone, nothing."""
    if not launched():
        yield
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


def wrap(objective: nn.Module, strategy: Literal["ddp", "fsdp"], device: torch.device) -> nn.Module:
    """The objective as a module whose gradients are the mean over all processes; alone, itself.

    With "fsdp" each entry of a ModuleList (a transformer block) is a unit whose weights are gathered when needed.
    """
    if world() == 1:
        return objective
    _normalise_together(objective)
    if strategy == "ddp":
        from torch.nn.parallel import DistributedDataParallel

        # A batch of pairs leaves the sorting head without a gradient.
        where = [device] if device.type == "cuda" else None
        return DistributedDataParallel(objective, device_ids=where, find_unused_parameters=True)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (world(),))
    for module in reversed(list(objective.modules())):  # the innermost first
        if isinstance(module, nn.ModuleList):
            for unit in module:
                fully_shard(unit, mesh=mesh)
    fully_shard(objective, mesh=mesh)  # in place
    return objective


class _BatchNorm(nn.modules.batchnorm._BatchNorm):
    """Normalises by the batch of all processes; torch's SyncBatchNorm is for GPUs only."""

    def _check_input_dim(self, input: Tensor) -> None:
        return

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        others = [0, *range(2, input.dim())]
        shape = [1, -1, *[1] * (input.dim() - 2)]
        values = input.float()
        middle = gather(values.mean(others)[None]).mean(0)
        spread = gather((values - middle.view(shape)).square().mean(others)[None]).mean(0)
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.num_batches_tracked += 1
            share = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
            count = world() * values.numel() / values.shape[1]
            self.running_mean.lerp_(middle.detach(), share)
            self.running_var.lerp_(spread.detach() * (count / (count - 1)), share)
        scale = (spread + self.eps).rsqrt()
        normal = ((values - middle.view(shape)) * scale.view(shape)).to(input.dtype)
        if self.weight is None:
            return normal
        return normal * self.weight.view(shape) + self.bias.view(shape)


def _normalise_together(model: nn.Module) -> None:
    """Replace each batch norm in the model by one over all processes that has the same tensors."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.modules.batchnorm._BatchNorm):
                together = _BatchNorm(child.num_features, child.eps, child.momentum, affine=False)
                together._parameters, together._buffers = child._parameters, child._buffers
                setattr(parent, name, together)


@contextmanager
def without_exchange(model: nn.Module, last: bool) -> Iterator[None]:
    """Gradients stay in their process inside the block, unless it is the `last` part of a batch."""
    engine: Any = model
    if hasattr(model, "set_requires_gradient_sync"):  # FSDP
        engine.set_requires_gradient_sync(last)
        yield
        return
    with nullcontext() if last or not hasattr(model, "no_sync") else engine.no_sync():
        yield


class _Gather(torch.autograd.Function):
    """All processes' rows; a row's gradient is the sum of what all processes ask of it."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.rows = len(rows)
        parts = [torch.empty_like(rows) for _ in range(world())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.clone(memory_format=torch.contiguous_format)  # what comes in may be somebody else's too
        dist.all_reduce(gradient)
        return gradient[rank() * ctx.rows : (rank() + 1) * ctx.rows]


def gather(rows: Tensor) -> Tensor:
    """Rows [B, ...] of each process -> those of all, [world * B, ...], in order of rank and differentiable."""
    return _Gather.apply(rows) if world() > 1 else rows


def total(values: Tensor) -> Tensor:
    """The sum over all processes, in place; alone, the values."""
    if world() > 1:
        dist.all_reduce(values)
    return values


def mean(values: dict[str, float]) -> dict[str, float]:
    """Figures of each process -> their means; all processes call this with the same names."""
    if world() == 1:
        return values
    means = torch.tensor([values[name] for name in sorted(values)], dtype=torch.float64)
    means = _reduced(means, dist.ReduceOp.SUM) / world()
    return dict(zip(sorted(values), means.tolist(), strict=True))


def anywhere(flag: bool) -> bool:
    """Whether the flag is set in any process."""
    return flag if world() == 1 else bool(_reduced(torch.tensor(float(flag)), dist.ReduceOp.MAX))


def collect(value: Any) -> list[Any]:
    """A value of each process -> those of all, in order of rank, in every process."""
    if world() == 1:
        return [value]
    values: list[Any] = [None] * world()
    dist.all_gather_object(values, value)
    return values


def _reduced(values: Tensor, how: Any) -> Tensor:
    on_gpu = dist.get_backend() == "nccl"
    values = values.cuda() if on_gpu else values
    dist.all_reduce(values, how)
    return values.cpu()


def forget_gathered(model: nn.Module) -> None:
    """FSDP keeps what it gathered of the outermost module: after its weights were exchanged that must go."""
    engine: Any = model
    if hasattr(model, "reshard"):
        engine.reshard()


def whole(value: Tensor) -> Tensor:
    """A tensor that FSDP may have spread, as one."""
    return value.full_tensor() if hasattr(value, "full_tensor") else value


def full_weights(model: nn.Module) -> dict[str, Tensor]:
    """The whole weights on the processor, in the first process; all processes call this."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    found: dict[str, Any] = get_model_state_dict(
        model, options=StateDictOptions(full_state_dict=True, cpu_offload=True)
    )
    return {name: value.clone() for name, value in found.items()}  # alone, they are the model's own


def full_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """{"model", "optimizer"} by names, the same whatever the number of processes; whole in the first process."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict

    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights, moments = get_state_dict(model, optimizer, options=options)
    return {"model": weights, "optimizer": moments}


def load_state(model: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Take over what `full_state` gave, in every process."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_state_dict

    # Not strict: what has had no gradient yet (the sorting head while pairs alone came) has no state.
    options = StateDictOptions(full_state_dict=True, strict=False)
    set_state_dict(
        model,
        optimizer,
        model_state_dict=state["model"],
        optim_state_dict=state["optimizer"],
        options=options,
    )
    known = state["optimizer"]["state"]
    for name, parameter in model.named_parameters():
        if name.removeprefix("module.") not in known:  # torch made up one, with weight decay in its momentum
            optimizer.state.pop(parameter, None)
