"""The three stages of a case: it is read, computed and written, each perhaps in a thread of its own."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from medconv.errors import BadImageError, MedconvError
from medconv.inference.byte_plan import BytePlan
from medconv.inference.companions import Companion
from medconv.inference.inputs import InputCase
from medconv.inference.outputs import is_made
from medconv.inference.prediction import Prediction
from medconv.inference.predictor import Predictor
from medconv.inference.statistics import Structure, measure_structures
from medconv.inference.stopwatch import Stopwatch
from medconv.inference.undecided import Undecided
from medconv.inference.volumes import to_volume
from medconv.io import Header, Volume, reader_for
from medconv.io.claim import claim
from medconv.io.remarks import noted

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
        byte_plan: How a finished case was computed, and the memory that was planned for it.
    """

    case_id: str
    status: Status
    seconds: float
    message: str
    output: Path
    stages: Mapping[str, float] = field(default_factory=dict)
    structures: tuple[Structure, ...] = ()
    found_disk_full: bool = False
    byte_plan: BytePlan | None = None


@dataclass(eq=False)
class CaseOnItsWay:
    """A case between two stages: what has become of it so far.

    Args:
        case: Which one.
        output: The file for its mask.
        status: Once it is known, what remains is passed through.
        message: Why it failed or was skipped.
        found_disk_full: See ``CaseResult``.
        is_alone: Whether no other case is in memory while it is computed.
        volume: After reading.
        undecided: After computing.
        structures: After measuring.
        byte_plan: After computing.
    """

    case: InputCase
    output: Path
    status: Status | None = None
    message: str = ""
    found_disk_full: bool = False
    is_alone: bool = False
    volume: Volume | None = None
    undecided: Undecided | None = None
    structures: tuple[Structure, ...] = ()
    byte_plan: BytePlan | None = None
    watch: Stopwatch = field(default_factory=Stopwatch)
    remarks: list[str] = field(default_factory=list)
    held: ExitStack = field(default_factory=ExitStack)

    def end(self, status: Status, message: str = "") -> None:
        """Nothing more is to be done; let go of everything."""
        self.status, self.message = status, message
        self.volume = self.undecided = None
        self.held.close()


class CaseStages:
    """Reading, computing and writing of cases; what goes wrong stays with the case.

    Args:
        predictor: The network, ready.
        skip_existing: Leave masks alone that exist.
        companions: What to write beside each mask.
        measure: Whether to measure the structures of each mask.
        overlapped: Whether other cases are read and written while one is computed.
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        skip_existing: bool = False,
        companions: Sequence[Companion] = (),
        measure: bool = False,
        overlapped: bool = False,
    ) -> None:
        self._predictor, self._skip_existing, self._overlapped = predictor, skip_existing, overlapped
        self._companions, self._is_measuring = companions, measure
        self._keeps = any(companion.needs_probabilities for companion in companions)
        self._on_their_way: set[CaseOnItsWay] = set()

    def read(self, job: tuple[InputCase, Path]) -> CaseOnItsWay:
        """Claim the case and read its volume, unless it is done or another job is at it."""
        way = CaseOnItsWay(*job)
        self._on_their_way.add(way)
        with _blamed(way), way.watch.stage("read"):
            if self._is_done(way.output):
                way.end("skipped", "its mask exists")
                return way
            if way.case.problem:
                raise BadImageError(way.case.problem)
            if not way.held.enter_context(claim(way.output)):
                way.end("skipped", "another job is making it")
            elif self._is_done(way.output):  # by a job that has just finished it
                way.end("skipped", "its mask exists")
            else:
                way.volume = to_volume(
                    way.case.paths, self._predictor.plan.in_channels, layout=way.case.layout
                )
        return way

    def goes_alone(self, way: CaseOnItsWay) -> bool:
        """Whether the case does not fit into memory while others are read and written."""
        with _blamed(way):
            if way.volume is not None:
                way.is_alone = not self._fits_beside_others(way.volume, way.volume.name)
        return way.is_alone

    def needs_all_memory(self, case: InputCase) -> bool:
        """As ``goes_alone``, from the header of the case, before it is read."""
        try:
            header = reader_for(case.paths[0], case.layout).read_header(case.paths[0])
        except Exception:  # whatever it is: reading the case meets it again and keeps it with the case
            return False
        return not self._fits_beside_others(header, str(case.paths[0]))

    def compute(self, way: CaseOnItsWay) -> CaseOnItsWay:
        """Ask the networks."""
        with _blamed(way):
            if way.volume is not None:
                overlapped = self._overlapped and not way.is_alone
                kept_type = np.float16 if self._keeps else None
                way.undecided = self._predictor.compute(way.volume, kept_type, overlapped=overlapped)
                way.byte_plan = way.undecided.byte_plan
                way.remarks += way.undecided.notes
        return way

    def writing_bytes(self, way: CaseOnItsWay) -> int:
        """Main memory that a computed case takes until it is written."""
        return way.byte_plan.writing_bytes if way.byte_plan is not None else 0

    def write(self, way: CaseOnItsWay) -> CaseResult:
        """Decide, measure and write; the mask last: where it is, its companions are.

        Several threads may write a case each.
        """
        with _blamed(way):
            if way.undecided is not None:
                prediction = self._predictor.decide(way.undecided)
                way.watch.seconds.update(prediction.seconds)
                if self._is_measuring:
                    with way.watch.stage("measure"):
                        way.structures = _structures(prediction)
                with way.watch.stage("write"):
                    for companion in self._companions:
                        companion.write(prediction, way.output)
                    prediction.save(way.output)
                way.end("ok", "; ".join(dict.fromkeys(way.remarks)))
        assert way.status is not None
        self._on_their_way.discard(way)
        seconds = way.watch.seconds
        return CaseResult(
            way.case.case_id,
            way.status,
            sum(seconds.values()),
            way.message,
            way.output,
            seconds if way.status == "ok" else {},
            way.structures if way.status == "ok" else (),
            way.found_disk_full,
            way.byte_plan if way.status == "ok" else None,
        )

    def close(self) -> None:
        """Give up claims on cases that were begun and will not be finished."""
        for way in tuple(self._on_their_way):  # a second interruption may leave a thread at work
            way.held.close()

    def _fits_beside_others(self, grid: Volume | Header, name: str) -> bool:
        try:
            self._predictor.byte_plan(
                grid.geometry, grid.shape, name, probabilities=self._keeps, overlapped=True
            )
        except MedconvError:
            return False  # computing it alone says what else is wrong with it
        return True

    def _is_done(self, output: Path) -> bool:
        return self._skip_existing and all(map(is_made, _files_of(output, self._companions)))


@contextmanager
def _blamed(way: CaseOnItsWay) -> Iterator[None]:
    """Note warnings and errors of the block with the case."""
    try:
        with noted(way.remarks):
            yield
    except MedconvError as error:
        way.end("failed", str(error))
    except OSError as error:
        way.found_disk_full = error.errno in _FULL
        way.end("failed", _os_failure(error, way.case, way.output))
    except Exception as error:  # one faulty case must not cost a night's work; it is reported and counted
        way.end("failed", f"{way.case.paths[0]}: {type(error).__name__}: {error}")


def _structures(prediction: Prediction) -> tuple[Structure, ...]:
    volume = prediction.volume
    labels = prediction.class_labels.reshape(volume.shape)
    names, order, shares = prediction.label_names, prediction.regions_class_order, prediction.probabilities
    if prediction.has_objects:
        # the first region is the foreground; of inside and rim no single channel says how sure it is
        order, shares = order[:1], shares[:1] if shares is not None and order else None
    return tuple(measure_structures(labels, volume, names, shares, order))


def _files_of(output: Path, companions: Sequence[Companion]) -> list[Path]:
    return [output, *(path for companion in companions for path in companion.files(output))]


def _os_failure(error: OSError, case: InputCase, output: Path) -> str:
    if error.errno in _FULL:
        return (
            f"{output}: nothing was written, the disk is full ({error.strerror}); free some space, then run the "
            f"same command with --skip-existing"
        )
    return f"{case.paths[0]}: {type(error).__name__}: {error}"
