"""The mean over processes of the gradients of a recorded step, in one call.

Distributed training hooks on to every parameter, copies its gradient into a bucket and averages bucket after bucket, so
that one travels while the next is computed. A recorded step has all gradients at once: nothing is left to overlap, and
the hooks only keep the host busy, which has no time to spare where a step takes 8 ms.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


class FlatGradients:
    """Room for the gradients of some parameters side by side, each in the layout of its parameter.

    Args:
        parameters: Whose gradients they are; of one type and device.

    Example:
        >>> flat = FlatGradients([nn.Parameter(torch.zeros(2, 3)), nn.Parameter(torch.zeros(1))])
        >>> flat.fill([torch.ones(2, 3), None])
        >>> flat.all.tolist()
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        sizes = [p.numel() for p in parameters]
        self.all = torch.zeros(sum(sizes), dtype=parameters[0].dtype, device=parameters[0].device)
        self.each = [
            part.as_strided(p.shape, p.stride())
            for part, p in zip(self.all.split(sizes), parameters, strict=True)
        ]

    def fill(self, gradients: Sequence[Tensor | None]) -> None:
        """Copy gradients in; where there is none, what was there stays, which is 0."""
        pairs = [(view, g) for view, g in zip(self.each, gradients, strict=True) if g is not None]
        # one that lies otherwise, as that of a kernel of one voxel may, would have all of them copied one by one
        alike = [(view, g) for view, g in pairs if view.stride() == g.stride()]
        if alike:
            torch._foreach_copy_([view for view, _ in alike], [g for _, g in alike])
        for view, g in pairs:
            if view.stride() != g.stride():
                view.copy_(g)


class GradientExchange:
    """Averages flat gradients in place of a ``DistributedDataParallel``, which can be told to leave a step alone.

    Args:
        wrapper: Around the module that is trained.
    """

    def __init__(self, wrapper: DistributedDataParallel) -> None:
        self._wrapper = wrapper
        self._world = dist.get_world_size(wrapper.process_group)

    def all_say(self, yes: bool) -> bool:
        """Whether this is so in all processes; each of them asks."""
        device = next(self._wrapper.module.parameters()).device
        answer = torch.tensor(float(yes), device=device)
        dist.all_reduce(answer, dist.ReduceOp.MIN, group=self._wrapper.process_group)
        return bool(answer)

    def average(self, gradients: Tensor) -> None:
        """Replace gradients by their mean over all processes."""
        gradients.div_(self._world)  # first, as the wrapper does: the sum may leave the range of a short type
        dist.all_reduce(gradients, group=self._wrapper.process_group)

    def take_over(self) -> None:
        """Have the wrapper leave alone the gradients of the step that is computed now, within its ``forward``."""
        self._wrapper.require_backward_grad_sync = False

    def hand_back(self) -> None:
        """Have the wrapper average the gradients of the next step, as it does without us."""
        self._wrapper.require_backward_grad_sync = True


def exchange_for(wrapper: object) -> GradientExchange | None:
    """What averages gradients in place of a wrapper; ``None`` where there is none or it has to do it.

    It has to where parameters are of several types, or do not fill their memory; where a hook or a type of its own does
    something to gradients on their way, or some are left out; and where it learns from its first step which are used.
    """
    if not isinstance(wrapper, DistributedDataParallel):
        return None
    if wrapper._comm_hooks or wrapper.mixed_precision or wrapper.parameters_to_ignore or wrapper.static_graph:
        return None
    trained = [p for p in wrapper.module.parameters() if p.requires_grad]
    is_of_one_kind = len({(p.dtype, p.device) for p in trained}) == 1
    return GradientExchange(wrapper) if is_of_one_kind and all(map(_is_dense, trained)) else None


def _is_dense(parameter: nn.Parameter) -> bool:
    """Whether its elements fill one piece of memory, in whatever order of axes."""
    return torch.empty_like(parameter).stride() == parameter.stride()
