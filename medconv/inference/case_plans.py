"""In which ways a case can be computed, what each takes, and the first that fits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from math import prod
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from medconv.host_memory import resident_bytes
from medconv.inference.byte_plan import BytePlan, plan_bytes
from medconv.inference.engine import CaseEngine
from medconv.inference.memory import first_that_fits, within_limits
from medconv.inference.spacious import LARGEST_IN_MEMORY_BYTES
from medconv.inference.stopwatch import Stopwatch
from medconv.inference.ways import Way, ways_down
from medconv.io import Volume
from medconv.transforms import Record

T = TypeVar("T")
Compute = Callable[[Volume, Way, Stopwatch, npt.NDArray[np.floating] | None], T]


class CasePlans:
    """Reckons the memory of cases for one engine, and computes them within it.

    Args:
        engine: That computes them.
        tile_batch: Tiles that pass a network together, at best.
        memory_gb: GiB at the most; ``None``: what is free.
        is_cleaned: Whether components of the labels are looked at afterwards.
    """

    def __init__(
        self, engine: CaseEngine, tile_batch: int, memory_gb: float | None, is_cleaned: bool
    ) -> None:
        self._engine, self._tile_batch, self._memory_gb = engine, tile_batch, memory_gb
        self._is_cleaned = is_cleaned
        self._held_bytes: int | None = None

    def of(
        self,
        record: Record,
        channels: int,
        name: str,
        *,
        probabilities: bool,
        overlapped: bool,
        probability_bytes: int = 2,
    ) -> Iterator[BytePlan]:
        """One plan a way that stays within the limits, the quickest first; none is reckoned before it is needed.

        Args:
            record: Of the volume.
            channels: ``C``.
            name: How errors call it.
            probabilities: Whether those of all classes are kept.
            overlapped: Whether other cases are read and written meanwhile.
            probability_bytes: Of each one that is kept.

        Raises:
            MedconvError: It does not fit into memory in any way.
        """
        engine = self._engine
        weights = engine.weight_bytes
        kept = 0
        if probabilities:
            kept = probability_bytes * engine.preprocessor.plan.num_classes * prod(record.shape)

        ways = ways_down(engine.device, self._tile_batch, is_recorded=engine.may_record)

        def reckoned(way: Way) -> BytePlan:
            size = engine.case_size(record, channels, way.device)
            if self._held_bytes is None:  # once libraries are loaded, and before volumes are read
                self._held_bytes = resident_bytes()
            return plan_bytes(
                size,
                way,
                held_bytes=self._held_bytes,
                weight_bytes=weights,
                recorded_bytes=engine.recorded_bytes(size, way),
                has_recorded=engine.has_recorded,
                kept_bytes=min(kept, LARGEST_IN_MEMORY_BYTES),
                is_cleaned=self._is_cleaned,
                overlapped=overlapped,
            )

        return within_limits(map(reckoned, ways), self._memory_gb, name)

    def compute(
        self,
        compute: Compute[T],
        volume: Volume,
        watch: Stopwatch,
        probabilities: npt.NDArray[np.floating] | None = None,
        overlapped: bool = False,
    ) -> tuple[T, list[BytePlan]]:
        """The result of the first way that fits into memory, and the plans of the ways that were tried, its own last.

        Args:
            compute: Of the engine: its ``labels`` or ``fields``.
            volume: To be computed.
            watch: Gets the seconds of the stages.
            probabilities: Filled with those of all classes.
            overlapped: See :meth:`of`.

        Raises:
            MedconvError: It does not fit into memory in any way.
        """
        plans: list[BytePlan] = []
        record = self._engine.preprocessor.record(volume)
        reckoned = partial(self.of, record, volume.channels, volume.name, overlapped=overlapped)
        if probabilities is None:
            ways = reckoned(probabilities=False)
        else:
            ways = reckoned(probabilities=True, probability_bytes=probabilities.itemsize)

        def attempts() -> Iterator[tuple[str, Callable[[], T]]]:
            for plan in ways:
                plans.append(plan)
                yield plan.way.words, partial(compute, volume, plan.way, watch, probabilities)

        return first_that_fits(attempts())[0], plans
