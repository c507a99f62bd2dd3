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

    Raises:
        RuntimeError: Something in the step cannot be recorded.

    Cost:
        The memory of the step stays reserved; recording takes as long as four or five steps.
    """

    def __init__(self, loss_of_batch: LossOfBatch, module: nn.Module, image: Tensor, label: Tensor) -> None:
        self._all_parameters = list(module.parameters())  # walking through all modules takes long
        self.parameters = [p for p in self._all_parameters if p.requires_grad]
        self._image, self._label = image.clone(), label.clone()
        buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]

        def step() -> tuple[Tensor, Sequence[Tensor | None]]:
            # autocast's copies of the weights would be made once, outside the graph, and grow old
            with torch.autocast(
                "cuda", torch.get_autocast_dtype("cuda"), torch.is_autocast_enabled("cuda"), False
            ):
                loss = loss_of_batch(self._image, self._label)
            gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True)
            return loss.detach(), [
                _laid_out_as(p, g) for p, g in zip(self.parameters, gradients, strict=True)
            ]

        try:
            self._record(step, image.device)
        finally:
            for buffer, before in buffers:
                buffer.copy_(before)

    def _record(
        self, step: Callable[[], tuple[Tensor, Sequence[Tensor | None]]], device: torch.device
    ) -> None:
        with torch.cuda.device(device), warnings.catch_warnings():
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

    def fits(self, image: Tensor, label: Tensor) -> bool:
        """Whether a batch is like the one that was recorded, and the same weights are trained."""
        if sum(p.requires_grad for p in self._all_parameters) != len(self.parameters):
            return False
        return (image.shape, image.dtype, label.shape, label.dtype) == (
            self._image.shape,
            self._image.dtype,
            self._label.shape,
            self._label.dtype,
        )

    def __call__(self, image: Tensor, label: Tensor) -> Tensor:
        """The loss of a batch that ``fits``; may be asked for its gradients once, before the next call."""
        self._image.copy_(image)
        self._label.copy_(label)
        self._graph.replay()
        loss: Tensor = _Recorded.apply(self._loss, self._gradients, *self.parameters)
        return loss


def _laid_out_as(parameter: Tensor, gradient: Tensor | None) -> Tensor | None:
    """The gradient in the layout of its parameter, or distributed training would copy it at every step."""
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
