"""Many volumes: each case on its own, so that one bad file costs one mask."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from medconv.errors import BadImageError, MedconvError
from medconv.inference.inputs import InputCase
from medconv.inference.predictor import Predictor
from medconv.inference.stopwatch import Stopwatch

Status = Literal["ok", "failed", "skipped"]


@dataclass(frozen=True)
class CaseResult:
    """What became of one case.

    Args:
        case_id: Which one.
        status: ``"ok"``; ``"skipped"``: its mask was there; ``"failed"``: ``message`` says why and what to
            do.
        seconds: Time spent on it.
        message: The error of a failed case; what should be known about a finished one, or nothing.
        output: The file of the mask; of a failed case, the file that was not written.
        stages: Seconds per stage of a finished case.
    """

    case_id: str
    status: Status
    seconds: float
    message: str
    output: Path
    stages: Mapping[str, float] = field(default_factory=dict)


def predict_cases(
    predictor: Predictor, jobs: Iterable[tuple[InputCase, Path]], *, skip_existing: bool = False
) -> Iterator[CaseResult]:
    """Predict case after case and tell of each when it is done; a bad case does not stop the others.

    Args:
        predictor: The network, ready.
        jobs: Cases and the files for their masks, as from ``plan_outputs``.
        skip_existing: Leave masks alone that exist; they are whole, because masks appear only when finished.
    """
    for case, output in jobs:
        yield predict_case(predictor, case, output, skip_existing=skip_existing)


def predict_case(
    predictor: Predictor, case: InputCase, output: Path, *, skip_existing: bool = False
) -> CaseResult:
    """Predict one case and write its mask, whole or not at all; done twice it leaves the same file.

    Warnings of the case are kept with it; Python's warning filters are changed meanwhile, so use processes,
    not threads, to run several at once.
    """
    start = time.perf_counter()

    def result(status: Status, message: str = "", stages: Mapping[str, float] | None = None) -> CaseResult:
        seconds = time.perf_counter() - start
        return CaseResult(case.case_id, status, seconds, message, output, stages or {})

    if skip_existing and output.is_file():
        return result("skipped", "its mask exists")
    try:
        if case.problem:
            raise BadImageError(case.problem)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            stages = _predict_and_save(predictor, case.paths, output)
    except MedconvError as error:
        return result("failed", str(error))
    except Exception as error:  # one faulty case must not cost a night's work; it is reported and counted
        return result("failed", f"{case.paths[0]}: {type(error).__name__}: {error}")
    remarks = "; ".join(str(w.message) for w in caught if w.category is UserWarning)
    return result("ok", remarks, stages)


def _predict_and_save(predictor: Predictor, paths: Sequence[Path], output: Path) -> dict[str, float]:
    """Seconds per stage, writing included."""
    prediction = predictor.predict(paths)
    watch = Stopwatch()
    with watch.stage("write"):
        prediction.save(output)
    return {**prediction.seconds, **watch.seconds}
