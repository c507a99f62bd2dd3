"""What happens in validation and test: whole cases, predicted tile by tile, measured on their own grid."""

from __future__ import annotations

from math import isnan
from typing import Any

import lightning.pytorch as pl
from torch import Tensor

from medconv.inference import mirror_average, mirror_axes, sliding_window
from medconv.metrics import CaseTable, InstanceSegmentationTable, InstanceTable, SegmentationTable
from medconv.planning import Plan
from medconv.training.measuring import MeasuringQueue
from medconv.transforms import Preprocessor

_OBJECT_SCORES = ("ap_50", "ap_75", "pq")


class MeasuredTask(pl.LightningModule):
    """Measure whole cases in millimetres; a subclass trains.

    The subclass sets ``plan``, ``preprocessor`` and the settings below before the first validation.
    """

    plan: Plan
    preprocessor: Preprocessor
    overlap: float
    tile_batch: int
    mirror: bool
    surface_every: int

    def __init__(self) -> None:
        super().__init__()
        self.measured: dict[str, Any] = {}
        self.table: SegmentationTable | None = None
        self.result: CaseTable | None = None
        self.objects: InstanceSegmentationTable | None = None
        self.found: InstanceTable | None = None
        self._measuring: MeasuringQueue | None = None
        self._validations = 0

    def on_validation_epoch_start(self) -> None:
        """Begin an empty table; between epochs surfaces are measured every now and then."""
        is_training = self.trainer.state.fn == "fit" and not self.trainer.sanity_checking
        surfaces = not is_training or self._validations % self.surface_every == 0
        self._validations += is_training
        names, regions = self.plan.declared.names, self.plan.declared.regions
        table = SegmentationTable(
            names,
            regions=regions,
            only_regions=bool(regions),
            surfaces=surfaces,
            ignore_label=self.plan.ignore_label,
        )
        self.table = table.to(self.device)
        if self.plan.instances is not None:
            self.objects = InstanceSegmentationTable().to(self.device)
        self._measuring = MeasuringQueue(self.table, objects=self.objects)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        """Predict one whole case, and have it measured on its own grid while the next one is predicted."""
        del batch_idx
        assert self._measuring is not None
        mirror = self.mirror and self.trainer.state.fn != "fit"
        logits = self.predict_logits(batch["image"], mirror=mirror)[0].float()
        return self._measuring.add_prediction(batch, logits, self.preprocessor)

    on_test_epoch_start, test_step = on_validation_epoch_start, validation_step

    def on_validation_epoch_end(self) -> None:
        """Merge the ranks' tables and log the summary."""
        self._summarise("val")

    def on_test_epoch_end(self) -> None:
        """Merge the ranks' tables and log the summary."""
        self._summarise("test")

    def predict_logits(self, image: Tensor, *, mirror: bool) -> Tensor:
        """Logits ``(1, K, *S)`` of a whole preprocessed image by sliding window."""

        def window(x: Tensor) -> Tensor:
            return sliding_window(
                self, x, self.plan.patch_size, overlap=self.overlap, batch_size=self.tile_batch
            )

        if not mirror:
            return window(image)
        plan = self.plan
        axes = mirror_axes(plan.orientation, plan.spatial_dims, plan.structure_names)
        return mirror_average(window, image, axes)

    def _summarise(self, stage: str) -> None:
        assert self.table is not None
        assert self._measuring is not None
        self._measuring.finish()
        self._measuring = None  # threads cannot be copied with the task
        self.result = self.table.compute()
        summary = self.result.summary()
        if not self.trainer.sanity_checking:
            self.measured = summary.to_dict()
        self.log(f"{stage}/dice", summary.class_first_mean_dice, prog_bar=True)
        if self.table.surfaces and not isnan(
            summary.class_first_mean_hd95_mm
        ):  # without pixel sizes there are none
            self.log(f"{stage}/hd95_mm", summary.class_first_mean_hd95_mm)
            self.log(f"{stage}/nsd", summary.class_first["nsd"])
        for label in summary.labels:
            self.log(f"{stage}/dice_{label.name}", label.mean_dice)
        if self.objects is not None:
            self._summarise_objects(stage, self.objects)

    def _summarise_objects(self, stage: str, objects: InstanceSegmentationTable) -> None:
        """Log what was found of the objects of all images together, as of one image."""
        self.found = objects.compute()
        summary = self.found.summary()
        if not self.trainer.sanity_checking:
            self.measured["instances"] = summary.to_dict()
        for name in _OBJECT_SCORES:
            self.log(f"{stage}/{name}", summary.pooled[name], prog_bar=name == "pq")
