"""Many volumes: each case on its own, so that one bad file costs one mask."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path

from medconv.inference.case_stages import CaseResult, CaseStages
from medconv.inference.companions import Companion
from medconv.inference.inputs import InputCase
from medconv.inference.pipeline import WRITING_ROOM, Enough, overlapped
from medconv.inference.predictor import Predictor


def predict_cases(
    predictor: Predictor,
    jobs: Iterable[tuple[InputCase, Path]],
    *,
    skip_existing: bool = False,
    companions: Sequence[Companion] = (),
    measure: bool = False,
    overlap: bool = True,
) -> Generator[CaseResult, None, None]:
    """Predict case after case and tell of each when it is done; a bad case does not stop the others.

    The next case is read and those before are written, in threads, while one is computed. A full disk ends it when
    two cases in a row met it: hours of computing would be lost. What is being written then, or when it is interrupted,
    is told too. Closed early, it ends its threads first.

    Args:
        predictor: The network, ready.
        jobs: Cases and the files for their masks, as from ``plan_outputs``.
        skip_existing: Leave masks alone that exist; they are whole, because masks appear only when finished.
        companions: What to write beside each mask.
        measure: Whether to measure the structures of each mask.
        overlap: Read, compute and write different cases at once, but those alone that do not fit beside others;
            otherwise one case is in memory.
    """
    stages = CaseStages(
        predictor, skip_existing=skip_existing, companions=companions, measure=measure, overlapped=overlap
    )
    if overlap:
        results = overlapped(
            jobs,
            stages.read,
            stages.compute,
            stages.write,
            stages.goes_alone,
            WRITING_ROOM,
            stages.writing_bytes,
        )
    else:
        results = (stages.write(stages.compute(stages.read(job))) for job in jobs)
    was_full = False
    try:
        with closing(results):  # ends its threads, before the claims on what they are at are given up
            for result in results:
                yield result
                if was_full and result.found_disk_full:
                    yield from _begun(results)
                    return
                was_full = result.found_disk_full
    finally:
        stages.close()


def _begun(results: Generator[CaseResult, None, None]) -> Generator[CaseResult, None, None]:
    """Of those that are being written, and no others."""
    with suppress(Enough, StopIteration):
        yield results.throw(Enough())
        yield from results


def predict_case(
    predictor: Predictor,
    case: InputCase,
    output: Path,
    *,
    skip_existing: bool = False,
    companions: Sequence[Companion] = (),
    measure: bool = False,
) -> CaseResult:
    """Predict one case and write its mask, whole or not at all; done twice it leaves the same file.

    While another job makes the same mask, the case is skipped (``medconv.io.claim``). The mask is written last: where
    it is, its companions are. Warnings of the case are kept with it; several threads may do this at once.
    """
    stages = CaseStages(predictor, skip_existing=skip_existing, companions=companions, measure=measure)
    try:
        return stages.write(stages.compute(stages.read((case, output))))
    finally:
        stages.close()
