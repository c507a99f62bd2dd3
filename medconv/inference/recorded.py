"""A network's pass over tiles, recorded once as a CUDA graph and replayed: the kernels of a small tile start as one.

A small tile ends on a large GPU sooner than the host can start the next of its hundred kernels. A graph starts them
together and computes the same numbers.

Source: NVIDIA, "CUDA Graphs", CUDA programming guide; PyTorch's ``torch.cuda.graph``.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from threading import Lock
from typing import Any

import torch
from torch import Tensor

Forward = Callable[[Tensor], Tensor]

MOST_RECORDINGS = 4
"""Shapes of batches that are recorded: small volumes give one tile, or two or three along an axis."""

SHARES = 2
"""Passes whose memory all recordings of a network keep: one, which they share, and what each takes in and hands out."""

_AFTER = 4
"""Passes of one shape before it is worth a recording, which takes about as long."""
_WARM_UP = 2


class RecordedNetwork:
    """Asks a network as it is until tiles of one shape have come often, then replays a recording of its pass.

    Several threads may ask at once. Where a pass cannot be recorded, which is warned of once, and on a processor, the
    network goes on as it is.

    Args:
        forward: Maps tiles ``(B, C, *P)`` to scores; must not ask the device for a value.
        record: Makes the recording of a pass from tiles like those to come, or ``None`` where they are not recorded.
        is_wanted: Whether somebody asked for recordings, and should know where there are none.

    Cost:
        The memory of about ``SHARES`` passes stays reserved, for at most ``MOST_RECORDINGS`` shapes.

    Example:
        >>> network = RecordedNetwork(torch.nn.ReLU())
        >>> network(torch.tensor([-1.0, 2.0]))
        tensor([0., 2.])
    """

    def __init__(
        self,
        forward: Forward,
        record: Callable[[Forward, Tensor], Forward | None] | None = None,
        *,
        is_wanted: bool = True,
    ) -> None:
        self._forward, self._record, self._is_wanted = forward, record or CudaRecorder(), is_wanted
        self._lock = Lock()
        self._recordings: dict[object, Forward] = {}
        self._seen: Counter[object] = Counter()
        self._is_recordable = True
        self.is_forgotten = False
        """Whether memory was short, and nothing is recorded any more."""

    @property
    def has_recorded(self) -> bool:
        """Whether recordings keep memory."""
        return bool(self._recordings)

    def __call__(self, tiles: Tensor) -> Tensor:
        """Scores of the tiles; the caller's own."""
        with self._lock:  # a recording has one input and one output
            if replay := self._replay_for(tiles):
                return replay(tiles).clone()
        return self._forward(tiles)

    def forget(self) -> None:
        """Give the memory of the recordings back, and make no new ones."""
        with self._lock:
            self._recordings.clear()
            self._is_recordable, self.is_forgotten = False, True

    def _replay_for(self, tiles: Tensor) -> Forward | None:
        key = (tuple(tiles.shape), tiles.dtype, tiles.device)
        if key in self._recordings or not self._is_recordable or len(self._recordings) == MOST_RECORDINGS:
            return self._recordings.get(key)
        self._seen[key] += 1
        if self._seen[key] <= _AFTER:
            return None
        try:
            recording = self._record(self._forward, tiles)
        except RuntimeError as error:
            self._is_recordable = False
            if self._is_wanted:
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                warnings.warn(
                    f"the network's pass cannot be recorded ({reason}); it goes on as without", stacklevel=3
                )
            return None
        if recording is None:
            self._is_recordable = False
        else:
            self._recordings[key] = recording
        return recording


class CudaRecorder:
    """Records passes over tiles on their GPU.

    All that one recorder makes share their memory: one is replayed at a time, and what it handed out is copied before
    the next.
    """

    def __init__(self) -> None:
        self._memory: Any = None

    def __call__(self, forward: Forward, tiles: Tensor) -> Forward | None:
        """Record one pass.

        Args:
            forward: See ``RecordedNetwork``.
            tiles: Like those to come.

        Returns:
            What copies tiles in, replays the pass and hands out its one output, which the next replay of any recording
            overwrites; ``None`` for tiles that are not on a GPU.

        Raises:
            RuntimeError: Something in the pass cannot be recorded, or memory is short.
        """
        if tiles.device.type != "cuda":
            return None
        given = tiles.clone(memory_format=torch.preserve_format)
        # a recording that fails would leave its own stream as the current one
        with torch.cuda.device(tiles.device), torch.cuda.stream(torch.cuda.current_stream(tiles.device)):
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(_WARM_UP):
                    forward(given)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            # the threads that read and write other cases go on meanwhile
            with torch.cuda.graph(graph, pool=self._memory, capture_error_mode="thread_local"):
                scores = forward(given)
            self._memory = graph.pool()

        def replay(tiles: Tensor) -> Tensor:
            given.copy_(tiles)
            graph.replay()
            return scores

        return replay
