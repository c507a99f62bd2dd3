"""What every data module does: loaders, ranks, resuming, and augmentation on the device."""

from __future__ import annotations

import hashlib
import logging
import warnings
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from medconv.datamodules.case_datasets import CaseDataset, PatchDataset
from medconv.datamodules.footprint import measure_footprint, measure_room
from medconv.datamodules.resumable_loader import ResumableLoader
from medconv.datamodules.samplers import EvaluationSampler, TrainingSampler
from medconv.datamodules.store import StoreLoader
from medconv.datamodules.tiers import StoreName, Tier, choose_tier
from medconv.errors import ConfigError
from medconv.planning import Plan, Proposal, mirror_axes
from medconv.processors import usable_processors
from medconv.transforms.augment import Augment
from medconv.transforms.augment_settings import AugmentSettings

NumWorkers = int | Literal["auto"]

_LOG = logging.getLogger("medconv")

_MOVED = ("image", "label")
"""Goes to the device. Keys stay on the host, where they are read; the targets of whole cases do too."""


class SegmentationDataModule(LightningDataModule, ABC):
    """Serve training patches and whole cases to a ``Trainer``.

    Training batches: ``image (B, C, *P)`` float32, augmented on the device, ``label (B, 1, *P)``, ``key (B,)`` and
    ``case (B,)``. Validation and test batches: one case each, see ``CaseDataset``. Every sample is a function of the
    seed and its number in the run, so workers, ranks and resumes change nothing. The samplers share out the cases
    themselves, whatever the trainer's ``use_distributed_sampler`` says.

    A subclass plans in ``prepare_plan`` and fills the three sets in ``setup``.

    Args:
        batch_size: Patches in one rank's batch.
        steps_per_epoch: Training batches an epoch, of all ranks together.
        seed: Of the order of cases, the patches and their augmentation.
        foreground_oversampling: Share of patches centred on a structure.
        augment: Probabilities and ranges; ``strength: 0`` switches it off.
        num_workers: Processes that load batches from disk; ``"auto"``: none where a device has at most 2 cores.
        store: Where training cases lie: ``"device"`` (all of them in its memory), ``"ram"`` (all of them in main
            memory; what patches reach is copied to the device beside training), ``"disk"`` (mapped; the system keeps in
            memory what fits), or ``"auto"``: the first with room, see ``choose_tier``; the log says it with its bytes.

    Raises:
        ConfigError: A negative number of workers.
    """

    plan: Plan
    proposal: Proposal | None = None
    """What the data decide, of the network too; ``None`` where nobody plans that."""
    plan_file: Path | None = None
    """Where the proposal was read from; ``None``: planned now."""
    training_set: PatchDataset
    validation_set: CaseDataset
    test_set: CaseDataset

    def __init__(
        self,
        *,
        batch_size: int,
        steps_per_epoch: int,
        seed: int,
        foreground_oversampling: float,
        augment: AugmentSettings,
        num_workers: NumWorkers,
        store: StoreName,
    ) -> None:
        super().__init__()
        if num_workers != "auto" and num_workers < 0:
            raise ConfigError(f'expected num_workers >= 0 or "auto", got {num_workers}')
        self.batch_size, self.steps_per_epoch, self.seed = batch_size, steps_per_epoch, seed
        self.foreground_oversampling, self.augment_settings = foreground_oversampling, augment
        self.num_workers, self.store = num_workers, store
        # a rank may have no validation case of its own
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self._augment: Augment | None = None
        self._stored = False
        self._position: dict[str, Any] = {}

    @abstractmethod
    def prepare_plan(self) -> None:
        """Set ``plan``, before anything is prepared; the first call reads what it needs, later ones nothing."""

    def require_split(self) -> None:
        """Refuse a division of the cases that cannot be made, before anything is prepared; after ``prepare_plan``."""

    @property
    @abstractmethod
    def has_test_cases(self) -> bool:
        """Whether there are cases that neither train nor validate; otherwise test means validation."""

    @property
    @abstractmethod
    def example_images(self) -> Path:
        """A folder of images to try a trained network on: unseen ones where there are some."""

    # --- loaders -----------------------------------------------------------------------------------

    def train_dataloader(self) -> DataLoader | StoreLoader:
        """Random patches, from where ``load_state_dict`` said."""
        sampler = TrainingSampler(
            len(self.training_set),
            self.batch_size,
            self.steps_per_epoch,
            self.seed,
            foreground_share=self.foreground_oversampling,
            rank=self.rank,
            world=self.world,
        )
        if self._position:
            sampler.resume(self._position["epoch"], self._position["batches"])
            self._warn_if_order_changed()
            self._position = {}
        tier = self._choose_tier()
        self._stored = tier.place != "disk"
        if self._stored:
            return StoreLoader(
                self.training_set, sampler, self.batch_size, self.augmentation(), self._device(), tier
            )
        workers = self._workers()
        return ResumableLoader(
            self.training_set,
            batch_size=self.batch_size,
            sampler=sampler,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=self._on_cuda(),
            generator=self._generator(),
        )

    def val_dataloader(self) -> DataLoader:
        """Whole cases of the validation part, each in exactly one rank."""
        return self._case_loader(self.validation_set)

    def test_dataloader(self) -> DataLoader:
        """Whole test cases; those of the validation part where there are no others."""
        return self._case_loader(self.test_set)

    def _case_loader(self, cases: CaseDataset) -> DataLoader:
        workers = min(self._workers(), 2)
        return DataLoader(
            cases,
            batch_size=None,
            sampler=EvaluationSampler(len(cases), rank=self.rank, world=self.world),
            collate_fn=_as_it_is,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=self._on_cuda(),
            generator=self._generator(),
        )

    # --- batches -----------------------------------------------------------------------------------

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move what is computed with; not as Lightning does, which refuses the frozen record of a case."""
        del dataloader_idx
        return {
            name: value.to(device, non_blocking=True) if name in _MOVED and torch.is_tensor(value) else value
            for name, value in batch.items()
        }

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Augment training batches; they are the ones with a key. What only the host needs becomes arrays.

        The wrapper of distributed training moves every tensor of a batch to the device, and waits for the host's.
        """
        del dataloader_idx
        if "key" not in batch:
            return batch
        if not self._stored:  # a store augments what it samples
            image, label = self.augmentation()(batch["image"], batch["label"], batch["key"])
            batch = {**batch, "image": image, "label": label}
        return batch | {name: batch[name].numpy() for name in ("key", "case") if torch.is_tensor(batch[name])}

    def augmentation(self) -> Augment:
        """What changes training patches on the device."""
        if self._augment is None:
            self._augment = Augment(self.plan.spatial_dims, self._settings_for_labels())
        return self._augment

    def _settings_for_labels(self) -> AugmentSettings:
        plan, given = self.plan, self.augment_settings.mirror_axes
        axes = mirror_axes(plan.orientation, plan.spatial_dims, plan.structure_names)
        if given is None:
            return replace(self.augment_settings, mirror_axes=axes)
        if sided := sorted(set(given) - set(axes)):
            warnings.warn(
                f"augment.mirror_axes flips axis {', '.join(map(str, sided))} although names of labels speak of a side "
                f"({', '.join(plan.structure_names)}): left becomes right; leave mirror_axes out to flip {list(axes)}",
                stacklevel=3,
            )
        return self.augment_settings

    # --- resuming ----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The epoch, and how many of its batches were trained; Lightning stores it in every checkpoint."""
        if self.trainer is None:
            return {}
        loop = self.trainer.fit_loop
        epochs: Any = loop.epoch_progress.current
        batches: Any = loop.epoch_loop.batch_progress.current
        epoch, trained = epochs.processed, batches.processed
        if epochs.ready == epochs.processed:  # between two epochs
            trained = 0
        elif trained >= self.trainer.num_training_batches:  # all done but for the validation
            epoch, trained = epoch + 1, 0
        return {"epoch": epoch, "batches": trained, "order": self._order()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from there with the next ``train_dataloader``."""
        # a checkpoint that is only tested must not move the beginning of a later training
        if self.trainer is None or self.trainer.state.fn == "fit":
            self._position = dict(state_dict)

    def _order(self) -> str:
        """Stands for everything that decides which sample comes when."""
        cases = [case.case_id for case in self.training_set.cases] if hasattr(self, "training_set") else []
        lengths = (self.batch_size, self.steps_per_epoch, self.world)
        facts = (self.seed, self.foreground_oversampling, *lengths, cases)
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]

    def _warn_if_order_changed(self) -> None:
        if self._position.get("order", self._order()) != self._order():
            warnings.warn(
                "training continues with other cases, seed, batch_size, steps_per_epoch, "
                "foreground_oversampling or number of processes than the checkpoint was made with: samples "
                "will come in another order",
                stacklevel=3,
            )

    # --- the machine -------------------------------------------------------------------------------

    @property
    def rank(self) -> int:
        """This process, from 0."""
        return self.trainer.global_rank if self.trainer else 0

    @property
    def world(self) -> int:
        """All processes."""
        return self.trainer.world_size if self.trainer else 1

    def _workers(self) -> int:
        if self.num_workers != "auto":
            return self.num_workers
        return choose_workers(usable_processors(), self.trainer.num_devices if self.trainer else 1)

    def _choose_tier(self) -> Tier:
        """Where training cases lie; said in the log."""
        processes = self.trainer.num_devices if self.trainer else 1
        is_mapped = self.store == "disk" or (self.store == "auto" and not self._on_cuda())
        footprint = measure_footprint(self.training_set, look_for_whole_numbers=not is_mapped)
        tier = choose_tier(footprint, measure_room(self._device(), processes), self.store)
        _LOG.info("%d training cases, %s", len(self.training_set), tier.reason)
        return tier

    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")

    def _on_cuda(self) -> bool:
        return self._device().type == "cuda"

    def _generator(self) -> torch.Generator:
        # without one of its own, a loader draws from the global generator and changes what dropout draws
        return torch.Generator().manual_seed(self.seed)


def choose_workers(cores: int, devices: int) -> int:
    """Loading processes for each of a machine's devices: none where they would only take turns with training.

    Example:
        >>> choose_workers(2, devices=1), choose_workers(16, devices=2), choose_workers(64, devices=1)
        (0, 6, 8)
    """
    share = cores // devices
    return 0 if share <= 2 else min(share - 2, 8)


def _as_it_is(case: Any) -> Any:
    return case
