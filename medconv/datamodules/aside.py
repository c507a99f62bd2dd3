"""Work for a GPU that it does beside its main work, and the handing over of what came out."""

from __future__ import annotations

from types import TracebackType
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T", bound=tuple[Tensor, ...])


class Aside:
    """A stream of its own for what is started inside ``with``; without a GPU nothing but the block itself.

    What lies on the device when this is made may be read inside. What is made inside belongs to the main work once it
    was claimed: the main work waits on the device until it is there, the host waits for nothing.

    Args:
        device: Where the work is done.

    Example:
        >>> aside = Aside(torch.device("cpu"))
        >>> with aside:
        ...     made = (torch.ones(2),)
        >>> aside.claim(made)
        (tensor([1., 1.]),)
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._device = device
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(device))

    def __enter__(self) -> None:
        """Start what follows aside."""
        if self._stream is not None:
            self._inside = torch.cuda.stream(self._stream)
            self._inside.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Start what follows as before."""
        if self._stream is not None:
            self._inside.__exit__(kind, error, trace)

    def claim(self, made: T) -> T:
        """Hand over what was made inside; the rest of the main work comes after all that was started so far."""
        if self._stream is not None:
            main = torch.cuda.current_stream(self._device)
            main.wait_stream(self._stream)
            for tensor in made:
                if tensor.is_cuda:
                    tensor.record_stream(
                        main
                    )  # its memory is not given away before the main work is done with it
        return made
