"""Numbers on their way from the device, on which nobody waits.

Whoever asks a GPU for a number waits until it has done all that it was told so far; then it stands still until the host
has told it more. A training step of a small network is over before the host has told the next one, so a loop that asks
now and then loses more than the answer takes.
"""

from __future__ import annotations

import torch
from torch import Tensor


class OnTheWay:
    """Copies of some numbers, sent behind the work that makes them; host and device go on meanwhile.

    On the CPU they are there at once.

    Args:
        values: Numbers of one tensor, of any shape; what happens to it later does not matter.

    Cost:
        One small copy. ``numbers`` waits for what was started before the copy, and for nothing that came after it.

    Example:
        >>> sent = OnTheWay(torch.tensor([0.5, 0.25]))
        >>> sent.have_arrived(), sent.numbers()
        (True, [0.5, 0.25])
    """

    def __init__(self, values: Tensor) -> None:
        on_gpu = values.is_cuda
        # only memory that is pinned can be copied to while the host goes on
        self._copy = torch.empty(values.numel(), dtype=values.dtype, device="cpu", pin_memory=on_gpu)
        self._copy.copy_(values.detach().reshape(-1), non_blocking=on_gpu)
        self._arrival = _arrival(values)

    @property
    def at_once(self) -> bool:
        """Whether they were there as soon as they were sent; the same on all ranks, unlike ``have_arrived``."""
        return self._arrival is None

    def have_arrived(self) -> bool:
        """Whether ``numbers`` would not wait."""
        return self._arrival is None or self._arrival.query()

    def numbers(self) -> list[float]:
        """The numbers, waited for if need be."""
        if self._arrival is not None:
            self._arrival.synchronize()
        numbers: list[float] = self._copy.tolist()
        return numbers


def _arrival(values: Tensor) -> torch.cuda.Event | None:
    """What happens when all that was started so far is done, where that takes a while."""
    if not values.is_cuda:
        return None
    event = torch.cuda.Event()
    event.record(torch.cuda.current_stream(values.device))
    return event
