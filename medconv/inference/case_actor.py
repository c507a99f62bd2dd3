"""A worker of an engine that spreads cases over processes or machines: a network, and cases on demand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock, Semaphore
from typing import Any

from medconv.inference.case_stages import CaseResult, CaseStages
from medconv.inference.companions import Companion
from medconv.inference.inputs import InputCase
from medconv.inference.predictor import Predictor


class CaseActor:
    """Predicts the cases that it is handed, in as many threads as they come: one reads or writes while one computes.

    Each case is done as ``predict_case`` does it: done twice it leaves the same file, so an engine may hand a case out
    again when it has lost the actor.

    Args:
        checkpoints: Files of one network or of an ensemble.
        settings: Of ``Predictor.from_checkpoint``.
        skip_existing: Leave masks alone that exist.
        companions: What to write beside each mask.
        measure: Whether to measure the structures of each mask.

    Raises:
        CheckpointError: A file cannot be used.
        ConfigError: A setting outside its range, or a device that is not there.
    """

    CALLS_AT_ONCE = 2
    """What the byte plan of overlapping cases covers; a third call waits."""

    def __init__(
        self,
        checkpoints: Sequence[str | Path],
        settings: Mapping[str, Any],
        *,
        skip_existing: bool = False,
        companions: Sequence[Companion] = (),
        measure: bool = False,
    ) -> None:
        self._stages = CaseStages(
            Predictor.from_checkpoint(*checkpoints, **settings),
            skip_existing=skip_existing,
            companions=companions,
            measure=measure,
            overlapped=True,
        )
        self._entrance, self._rooms, self._computing = Lock(), Semaphore(self.CALLS_AT_ONCE), Lock()

    def predict(self, case: InputCase, output: Path) -> CaseResult:
        """Predict one case and write its mask; a case that needs all memory waits until the others are done.

        Args:
            case: Its files.
            output: The file for its mask.
        """
        with self._room(self.CALLS_AT_ONCE if self._stages.needs_all_memory(case) else 1):
            way = self._stages.read((case, output))
            self._stages.goes_alone(way)
            with self._computing:
                way = self._stages.compute(way)
            return self._stages.write(way)

    @contextmanager
    def _room(self, count: int) -> Iterator[None]:
        with self._entrance:  # two large cases that enter together would each hold what the other waits for
            for _ in range(count):
                self._rooms.acquire()
        try:
            yield
        finally:
            self._rooms.release(count)
