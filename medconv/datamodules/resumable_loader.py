"""A loader whose position travels elsewhere."""

from __future__ import annotations

from typing import Any

from torch.utils.data import DataLoader


class ResumableLoader(DataLoader):
    """A loader that may be entered in the middle of an epoch.

    Lightning asks a loader for its position. The position travels in the data module's state instead, because
    only the trainer knows how many batches were trained, not merely fetched; saying so keeps it from warning.
    """

    def state_dict(self) -> dict[str, Any]:
        """Nothing: see ``SegmentationDataModule.state_dict``."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing: see ``SegmentationDataModule.load_state_dict``."""
