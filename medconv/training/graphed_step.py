"""A whole training step as one CUDA graph: the hundreds of kernels of a small network start as one.

Patches of medical volumes are small for a large GPU: its kernels end sooner than the host can start the next. A graph
records them once and starts them together; the numbers stay the same.

Source: NVIDIA, "CUDA Graphs", CUDA programming guide; PyTorch's ``torch.cuda.graph``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from medconv.training.gradient_exchange import FlatGradients

LossOfBatch = Callable[[Tensor, Tensor], Tensor]

_WARM_UP = 3
"""Steps before the recording, in which libraries choose their algorithms and take their memory."""


class GraphedStep:
    """The loss of a batch and its gradients, recorded from one batch and replayed for all of the same shape.

    The result is an ordinary scalar: ``backward`` on it hands the gradients, which were computed together with it,
    to the parameters, through the hooks of distributed training too. A gradient scaler multiplies them only after
    they were computed, so float16 gradients would underflow: use bfloat16 or float32.

    Args:
        loss_of_batch: Takes image and label; must not ask the device for a value. Recorded under the autocast
            that is active now.
        module: Its trainable parameters get gradients; its buffers are left as they are by the recording.
        image: A batch like those to come, on the GPU.
        label: Its labels.
        is_flat: Whether the gradients lie side by side, so that processes can average them in one call.

    Raises:
        RuntimeError: Something in the step cannot be recorded.

    Cost:
        The memory of the step stays reserved; recording takes as long as four or five steps.
    """

    changes_buffers = False
    """Whether a step changes what the module keeps beside its parameters, such as statistics."""

    def __init__(
        self,
        loss_of_batch: LossOfBatch,
        module: nn.Module,
        image: Tensor,
        label: Tensor,
        *,
        is_flat: bool = False,
    ) -> None:
        self._all_parameters = list(module.parameters())  # walking through all modules takes long
        self.parameters = [p for p in self._all_parameters if p.requires_grad]
        self._flat = FlatGradients(self.parameters) if is_flat else None
        self._loss_of_batch = loss_of_batch
        self._image, self._label = image.clone(), label.clone()
        buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
        try:
            self._record(lambda: self._compute(self._image, self._label), image.device)
        finally:
            self.changes_buffers = any(not torch.equal(buffer, before) for buffer, before in buffers)
            for buffer, before in buffers:
                buffer.copy_(before)

    def _compute(self, image: Tensor, label: Tensor) -> tuple[Tensor, Sequence[Tensor | None]]:
        # autocast's copies of the weights would be made once, outside the graph, and grow old
        with torch.autocast(
            "cuda", torch.get_autocast_dtype("cuda"), torch.is_autocast_enabled("cuda"), False
        ):
            loss = self._loss_of_batch(image, label)
        gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        return loss.detach(), self._laid_out(gradients)

    def _record(
        self, step: Callable[[], tuple[Tensor, Sequence[Tensor | None]]], device: torch.device
    ) -> None:
        # a recording that fails would leave its own stream as the current one
        own = torch.cuda.stream(torch.cuda.current_stream(device))
        with torch.cuda.device(device), own, warnings.catch_warnings():
            # in distributed training these nodes exist already, on the stream that steps are replayed from later
            warnings.filterwarnings("ignore", "The AccumulateGrad node's stream does not match")
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            # a run that is resumed records again; dropout must go on with the numbers of one that was not
            with torch.cuda.stream(side), torch.random.fork_rng(devices=[device]):
                for _ in range(_WARM_UP):
                    step()
            torch.cuda.current_stream().wait_stream(side)
            self._graph = torch.cuda.CUDAGraph()
            # other threads (loaders, the watchdog of NCCL) may go on talking to the device meanwhile
            with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                self._loss, self._gradients = step()

    def _laid_out(self, gradients: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        """The gradients in the layouts of their parameters, or distributed training would copy them at every step."""
        if self._flat is None:
            return [_laid_out_as(p, g) for p, g in zip(self.parameters, gradients, strict=True)]
        self._flat.fill(gradients)
        return [None if g is None else view for view, g in zip(self._flat.each, gradients, strict=True)]

    def trains_the_same(self) -> bool:
        """Whether as many weights are trained as when the step was recorded."""
        return sum(p.requires_grad for p in self._all_parameters) == len(self.parameters)

    def fits(self, image: Tensor, label: Tensor) -> bool:
        """Whether a batch is like the one that was recorded."""
        return (image.shape, image.dtype, label.shape, label.dtype) == (
            self._image.shape,
            self._image.dtype,
            self._label.shape,
            self._label.dtype,
        )

    def __call__(self, image: Tensor, label: Tensor) -> Tensor:
        """The loss of a batch that ``fits``; may be asked for its gradients once, before the next call."""
        self._replay(image, label)
        return self._as_loss(self._loss, self._gradients)

    def averaged(self, image: Tensor, label: Tensor, average: Callable[[Tensor], None]) -> Tensor:
        """As calling it, with the gradients that all processes have in the mean.

        Also for a batch that does not fit, which is computed unrecorded: whatever batches the other processes have,
        all exchange the same.

        Args:
            image: Of the batch.
            label: Of the batch.
            average: Replaces the flat gradients by their mean over all processes.
        """
        assert self._flat is not None, "gradients that are averaged are recorded flat"
        if self.fits(image, label):
            self._replay(image, label)
            loss, gradients = self._loss, self._gradients
        else:
            loss, gradients = self._compute(image, label)
        average(self._flat.all)
        return self._as_loss(loss, gradients)

    def _replay(self, image: Tensor, label: Tensor) -> None:
        self._image.copy_(image)
        self._label.copy_(label)
        self._graph.replay()

    def _as_loss(self, loss: Tensor, gradients: Sequence[Tensor | None]) -> Tensor:
        result: Tensor = _Recorded.apply(loss, gradients, *self.parameters)
        return result


def _laid_out_as(parameter: Tensor, gradient: Tensor | None) -> Tensor | None:
    if gradient is None or gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter, dtype=gradient.dtype).copy_(gradient)


class _Recorded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, loss: Tensor, gradients: Sequence[Tensor | None], *parameters: Tensor) -> Tensor:
        del parameters
        ctx.gradients = gradients
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        given = [g for g in ctx.gradients if g is not None]
        scaled = iter(torch._foreach_mul(given, grad.to(given[0].dtype)))
        return None, None, *(None if g is None else next(scaled) for g in ctx.gradients)
