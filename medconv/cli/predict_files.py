"""What `medconv predict` writes beside masks: the options, the companions, and the files about the whole run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from medconv.cli.paths import require_output_folder
from medconv.cli.predict_regions import RegionFile
from medconv.errors import MedconvError

if TYPE_CHECKING:
    from medconv.inference import CaseResult, InputCase, Predictor
    from medconv.inference.companions import Companion


def add_file_options(parser: ArgumentParser) -> None:
    """Options about what is written."""
    add = parser.add_argument
    add("--per-class", action="store_true", help="a binary mask a label too")
    add("--save-probabilities", action="store_true", help="probability of each class too, 16 bits a voxel")
    add("--uncertainty", action="store_true", help="entropy map too, and how sure each structure is")
    add("--preview", action="store_true", help="a picture of each mask on its image too")
    add("--rois", action="store_true", help="regions for ImageJ too, one an object; for single objects")
    add("--dicom-seg", action="store_true", help="a DICOM segmentation too; for DICOM series")
    add("--stats", type=str, default=None, help=".csv: volume, place, intensity of each structure")
    add(
        "--region-table",
        type=str,
        default=None,
        help=".csv: size, place, intensity, shape of each object, in um",
    )
    add("--report", type=str, default=None, help=".json: versions, settings, what became of each case")


def companions_of(options: Namespace, cases: Sequence[InputCase], predictor: Predictor) -> list[Companion]:
    """What the options ask to be written beside each mask.

    Raises:
        ConfigError: A DICOM segmentation of something else, regions of anything but objects, or no library for them.
    """
    from medconv.inference.companions import Entropy, PerClass, Place, Probabilities
    from medconv.inference.outputs import is_mask_file

    place = Place(is_alone=is_mask_file(options.output))
    companions: list[Companion] = []
    if options.per_class:
        companions.append(PerClass(place, predictor.label_names))
    if options.save_probabilities:
        companions.append(Probabilities(place))
    if options.uncertainty:
        companions.append(Entropy(place))
    if options.dicom_seg:
        from medconv.inference.dicom_segmentation import DicomSegmentation, require_series

        require_series(cases)
        companions.append(DicomSegmentation(place))
    if options.rois:
        from medconv.inference.object_files import Rois, require_objects
        from medconv.io.imagej_rois import require_roifile

        require_objects(predictor.plan, "--rois")
        require_roifile()
        companions.append(Rois(place))
    if options.preview:
        from medconv.reporting.preview import Preview

        companions.append(Preview(place))
    return companions


def prepare_places(options: Namespace, predictor: Predictor) -> list[str]:
    """Try whether masks can be written, and put the names of labels where viewers import them from.

    Returns:
        Remarks for the user.

    Raises:
        ConfigError: A place where nothing can be written.
    """
    from medconv.inference.outputs import is_mask_file
    from medconv.io.label_files import write_label_files

    output = Path(options.output)
    if is_mask_file(output):
        require_output_folder(output.parent)
        return []
    require_output_folder(output)
    if predictor.plan.instances is not None:
        return []  # numbers of objects have no names
    foreign = write_label_files(output, predictor.label_names)
    return [
        f"{path} belongs to something else and stays; label names lie in the masks only" for path in foreign
    ]


class RunFiles:
    """The table and the report of a run: filled case by case, written also when it is interrupted.

    Args:
        options: Of the command.
        words: As the user typed them.
        predictor: What predicts.
        cases: The inputs.
    """

    def __init__(
        self, options: Namespace, words: Sequence[str], predictor: Predictor, cases: Sequence[InputCase]
    ) -> None:
        from medconv.inference.statistics_table import StatisticsTable

        self._options, self._words, self._predictor = options, words, predictor
        self._cases = {case.case_id: case for case in cases}
        self._started = datetime.now(UTC)
        self._results: list[CaseResult] = []
        self.device = ""
        """Where the cases are computed, in words, where that is not in this process."""
        self._table = self._regions = None
        if options.region_table is not None:
            self._regions = RegionFile(
                options.region_table, predictor, self._cases, keep_earlier=options.skip_existing
            )
        if options.stats is not None:
            names = predictor.plan.channel_names
            self._table = StatisticsTable(options.stats, names, has_probabilities=options.uncertainty)
            if options.skip_existing:
                self._table.keep_earlier()

    @property
    def companions(self) -> list[Companion]:
        """What measures objects while masks are written."""
        return [] if self._regions is None else [self._regions.collector]

    @property
    def is_measuring(self) -> bool:
        """Whether somebody asks for the structures of each mask."""
        return self._table is not None or self._options.uncertainty

    def add(self, result: CaseResult) -> str:
        """Take a case in; the problem with its row, if there is one."""
        self._results.append(result)
        if self._regions is not None and (problem := self._regions.add(result)):
            return problem
        if self._table is None or result.status == "failed":
            return ""
        if result.status == "ok":
            self._table.add(result.case_id, result.structures)
        elif result.case_id not in self._table:
            return self._measure_earlier(result)
        return ""

    def write(self, status: str) -> list[Path]:
        """Write what was asked for; the files."""
        from medconv.inference.run_record import run_record
        from medconv.io import write_text

        written = [table.write() for table in (self._table, self._regions) if table is not None]
        if self._options.report is not None:
            record = run_record(
                self._predictor,
                self._options.checkpoint,
                self._results,
                inputs={case.case_id: case.paths for case in self._cases.values()},
                words=self._words,
                started=self._started,
                status=status,
                device=self.device,
            )
            write_text(self._options.report, json.dumps(record, indent=2) + "\n")
            written.append(Path(self._options.report))
        return written

    def _measure_earlier(self, result: CaseResult) -> str:
        """The row of a mask that an earlier run made."""
        from medconv.inference.outputs import is_made
        from medconv.inference.statistics import measure_mask

        assert self._table is not None
        if not is_made(result.output):
            return f"no row in {self._table.path.name}, another job is making the mask"
        plan = self._predictor.plan
        try:
            case = self._cases[result.case_id]
            structures = measure_mask(
                case.paths,
                result.output,
                self._predictor.label_names,
                plan.in_channels,
                case.layout,
                has_objects=plan.instances is not None,
            )
        except MedconvError as error:
            return f"no row in {self._table.path.name}: {error}"
        self._table.add(result.case_id, structures)
        return ""
