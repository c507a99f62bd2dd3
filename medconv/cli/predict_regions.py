"""`medconv predict --region-table`: one row an object, over all masks of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from medconv.errors import MedconvError

if TYPE_CHECKING:
    from medconv.inference import CaseResult, InputCase, Predictor


class RegionFile:
    """The table of objects: filled case by case, written also when the run is interrupted.

    Args:
        path: Of the CSV.
        predictor: What predicts.
        cases: The inputs by name.
        keep_earlier: Whether rows of an earlier run stay for cases that are not done again.

    Raises:
        ConfigError: The network tells no objects apart.
    """

    def __init__(
        self, path: str, predictor: Predictor, cases: Mapping[str, InputCase], *, keep_earlier: bool
    ) -> None:
        from medconv.inference.object_files import RegionCollector, require_objects
        from medconv.inference.region_table import RegionTable

        require_objects(predictor.plan, "--region-table")
        self._channels, self._cases = predictor.plan.in_channels, cases
        self._table = RegionTable(path, predictor.plan.channel_names)
        self.collector = RegionCollector()
        if keep_earlier:
            self._table.keep_earlier()

    def add(self, result: CaseResult) -> str:
        """Take the objects of a case in; the problem with its rows, if there is one."""
        if result.status == "ok":
            self._table.add(result.case_id, self.collector.take(result.output))
        elif result.status == "skipped" and result.case_id not in self._table:
            return self._measure_earlier(result)
        return ""

    def write(self) -> Path:
        """Write all rows; the file."""
        return self._table.write()

    def _measure_earlier(self, result: CaseResult) -> str:
        """The rows of a mask that an earlier run made."""
        from medconv.inference.object_files import measure_object_mask
        from medconv.inference.outputs import is_made

        if not is_made(result.output):
            return f"no rows in {self._table.path.name}, another job is making the mask"
        case = self._cases[result.case_id]
        try:
            regions = measure_object_mask(case.paths, result.output, self._channels, case.layout)
        except MedconvError as error:
            return f"no rows in {self._table.path.name}: {error}"
        self._table.add(result.case_id, regions)
        return ""
