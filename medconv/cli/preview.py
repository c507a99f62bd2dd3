"""``medconv fit … --preview-augmentation FILE.png``: what the network would be shown, as a picture."""

from __future__ import annotations

from pathlib import Path

from medconv.datamodules import SegmentationDataModule
from medconv.datamodules.preview import preview_augmentation
from medconv.errors import ConfigError
from medconv.reporting import SampleRow, draw_samples


def write_preview(data: SegmentationDataModule, path: str) -> str:
    """Prepare the cases, draw some patches with their augmentation, and say where the picture is.

    Args:
        data: After ``prepare_plan``.
        path: A PNG file.

    Raises:
        ConfigError: Another kind of file, or a folder that does not exist.
        DatasetError: Cases that cannot be used.
    """
    target = Path(path)
    if target.suffix.lower() != ".png" or not target.absolute().parent.is_dir():
        raise ConfigError(f"--preview-augmentation: expected a .png file in a folder that exists, got {path}")
    data.prepare_data()
    data.setup("fit")
    rows = [SampleRow(p.case_id, p.images, p.labels, p.changes) for p in preview_augmentation(data)]
    names = dict(data.plan.label_names)
    if data.plan.unknown_label is not None:
        names[data.plan.unknown_label] = "ignored"
    draw_samples(rows, data.plan.spacing_mm, path=target, label_names=names)
    return f"{len(rows)} patches, each as cut and {len(rows[0].images) - 1} times augmented: {target}"
