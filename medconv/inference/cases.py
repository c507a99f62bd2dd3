"""Many volumes: each case on its own, so that one bad file costs one mask."""

from __future__ import annotations

import errno
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from medconv.errors import BadImageError, MedconvError
from medconv.inference.companions import Companion
from medconv.inference.inputs import InputCase
from medconv.inference.predictor import Predictor
from medconv.inference.statistics import Structure, measure_structures
from medconv.inference.stopwatch import Stopwatch
from medconv.io.claim import claim

Status = Literal["ok", "failed", "skipped"]

_FULL = (errno.ENOSPC, errno.EDQUOT)


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
        structures: What its mask says about each label, if that was asked for.
        found_disk_full: Whether it failed because nothing more could be written.
    """

    case_id: str
    status: Status
    seconds: float
    message: str
    output: Path
    stages: Mapping[str, float] = field(default_factory=dict)
    structures: tuple[Structure, ...] = ()
    found_disk_full: bool = False


def predict_cases(
    predictor: Predictor,
    jobs: Iterable[tuple[InputCase, Path]],
    *,
    skip_existing: bool = False,
    companions: Sequence[Companion] = (),
    measure: bool = False,
) -> Iterator[CaseResult]:
    """Predict case after case and tell of each when it is done; a bad case does not stop the others.

    A full disk does, when it stopped two cases in a row: hours of computing would be lost.

    Args:
        predictor: The network, ready.
        jobs: Cases and the files for their masks, as from ``plan_outputs``.
        skip_existing: Leave masks alone that exist; they are whole, because masks appear only when finished.
        companions: What to write beside each mask.
        measure: Whether to measure the structures of each mask.
    """
    was_full = False
    for case, output in jobs:
        result = predict_case(
            predictor, case, output, skip_existing=skip_existing, companions=companions, measure=measure
        )
        yield result
        if was_full and result.found_disk_full:
            return
        was_full = result.found_disk_full


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
    it is, its companions are.

    Warnings of the case are kept with it; Python's warning filters are changed meanwhile, so use processes,
    not threads, to run several at once.
    """
    start = time.perf_counter()

    def result(status: Status, message: str = "", **more: Any) -> CaseResult:
        return CaseResult(case.case_id, status, time.perf_counter() - start, message, output, **more)

    def is_done() -> bool:
        return skip_existing and all(path.is_file() for path in _files_of(output, companions))

    if is_done():
        return result("skipped", "its mask exists")
    try:
        if case.problem:
            raise BadImageError(case.problem)
        with claim(output) as is_mine, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            if not is_mine:
                return result("skipped", "another job is making it")
            if is_done():  # by a job that has just finished it
                return result("skipped", "its mask exists")
            stages, structures = _predict_and_save(predictor, case.paths, output, companions, measure)
    except MedconvError as error:
        return result("failed", str(error))
    except OSError as error:
        return result("failed", _os_failure(error, case, output), found_disk_full=error.errno in _FULL)
    except Exception as error:  # one faulty case must not cost a night's work; it is reported and counted
        return result("failed", f"{case.paths[0]}: {type(error).__name__}: {error}")
    remarks = dict.fromkeys(str(w.message) for w in caught if w.category is UserWarning)
    return result("ok", "; ".join(remarks), stages=stages, structures=structures)


def _files_of(output: Path, companions: Sequence[Companion]) -> list[Path]:
    return [output, *(path for companion in companions for path in companion.files(output))]


def _os_failure(error: OSError, case: InputCase, output: Path) -> str:
    if error.errno in _FULL:
        return (
            f"{output}: nothing was written, the disk is full ({error.strerror}); free some space, then run the "
            f"same command with --skip-existing"
        )
    return f"{case.paths[0]}: {type(error).__name__}: {error}"


def _predict_and_save(
    predictor: Predictor,
    paths: Sequence[Path],
    output: Path,
    companions: Sequence[Companion],
    measure: bool,
) -> tuple[dict[str, float], tuple[Structure, ...]]:
    """Seconds per stage, writing included, and the structures."""
    keep = any(companion.needs_probabilities for companion in companions)
    prediction = predictor.predict(paths, probabilities=keep)
    watch = Stopwatch()
    structures: list[Structure] = []
    if measure:
        with watch.stage("measure"):
            volume = prediction.volume
            structures = measure_structures(
                prediction.labels.reshape(volume.shape),
                volume,
                prediction.label_names,
                prediction.probabilities,
            )
    with watch.stage("write"):
        for companion in companions:
            companion.write(prediction, output)
        prediction.save(output)
    return {**prediction.seconds, **watch.seconds}, tuple(structures)
