"""Datasets of image files, whatever their format: discovered, planned, split, prepared once, served."""

from __future__ import annotations

import logging
import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from medconv.datamodules.absent_classes import warn_of_absent_classes
from medconv.datamodules.base import NumWorkers, SegmentationDataModule
from medconv.datamodules.cache import CaseCache
from medconv.datamodules.case_datasets import CaseDataset, PatchDataset
from medconv.datamodules.division import Division
from medconv.datamodules.far_spacings import warn_of_far_spacings
from medconv.datamodules.plan_settings import PlanSettings, load_proposal
from medconv.datamodules.planned_once import propose_once
from medconv.datamodules.splits import Split
from medconv.datamodules.splits_file import write_splits
from medconv.datamodules.tiers import StoreName
from medconv.datamodules.user_cache import user_cache_dir
from medconv.errors import BadCasesError, DatasetError
from medconv.io import Case, Dataset
from medconv.io.dataset_rules import DatasetRules, LabelKind
from medconv.planning import InstanceTarget, Proposal, guessed_channels
from medconv.planning.sizes import MIN_BATCH
from medconv.transforms.augment_settings import NNUNET, AugmentSettings

_LOG = logging.getLogger("medconv")


class FileDataModule(SegmentationDataModule):
    """Train on images and label maps in files. ``NiftiDataModule`` and ``MicroscopyDataModule`` find them.

    Cases are turned, resampled and normalised once, kept in ``cache_dir``, and read from there through memory
    maps: the system holds in memory what fits, once for all workers and ranks.

    Args:
        root: What ``find`` takes for a dataset.
        spacing_mm: Voxel edge lengths to work at, or ``"median"`` for the dataset's.
        patch_size: Voxels of a training patch, or ``"auto"`` for the rule of ``medconv.planning``.
        batch_size: Patches in one rank's batch, or ``"auto"`` for the rule of ``medconv.planning``.
        steps_per_epoch: Training batches an epoch, of all ranks together.
        val_fraction: Share of cases to validate on (by group); ``None`` is 0.2 without ``num_folds``.
        num_folds: Divide for a cross-validation instead.
        splits: A split file of nnU-Net (``splits_final.json``) instead of a division made here.
        fold: The fold to validate on, from 0.
        seed: Of the split, the order of cases, the patches and their augmentation.
        foreground_oversampling: Share of patches centred on a structure.
        augment: Probabilities and ranges; ``strength: 0`` switches augmentation off.
        num_workers: Processes that load batches from disk; ``"auto"``: none where a device has at most 2 cores.
        store: ``"device"``, ``"ram"``, ``"disk"`` or ``"auto"``: see ``SegmentationDataModule``.
        cache_dir: Where prepared cases are kept; ``None`` is ``medconv`` in the user's cache folder. It may
            be deleted at any time.
        normalization: One of ``zscore``, ``percentile``, ``range``, ``ct``, ``none`` for each channel, or ``"auto"``.
        plan: A file of ``medconv plan`` to take spacing, orientation, normalisation, patch and batch from; a patch or
            batch of your own wins over it. ``None``: planned now, for which every image is read once.
        test_root: A dataset of cases for ``test``; ``None`` tests on the validation part.
        regions: Labels of each region, such as ``{whole tumour: [1, 2, 3], core: [2, 3]}``, where the network is to
            answer for regions that may overlap; ``None``: as the dataset declares.
        regions_class_order: The label that each region writes into a mask, later ones over earlier ones; ``None``:
            as the dataset declares, or for given regions the label that no later one has.
        ignore_label: The value of voxels that nobody labelled: they carry no loss and are not measured; ``None``:
            as the dataset declares.
        labels: ``instance``: label maps hold one number an object, and the network is trained to tell touching ones
            apart; ``semantic``: they hold labels; ``None``: as the dataset declares.
        instances: How objects are taught, see ``medconv.planning.InstanceTarget``; ``None``: shells by distance.
        label_names: Of the labels 1, 2, …, or of the objects; ``None``: as the dataset declares.
        group_pattern: A regular expression; cases in whose paths it finds the same are never divided between training
            and validation (see ``medconv.io.group_cases``). ``None``: groups as the dataset has them.
        skip_bad_cases: Leave out cases that cannot be used, with a warning, instead of refusing the dataset.

    Raises:
        ConfigError: Settings that contradict each other.
        DatasetError: In ``prepare_plan`` or ``setup``: cases that cannot be used, all of them listed.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        spacing_mm: Literal["median"] | list[float] = "median",
        patch_size: Literal["auto"] | list[int] = "auto",
        batch_size: int | Literal["auto"] = "auto",
        steps_per_epoch: int = 250,
        val_fraction: float | None = None,
        num_folds: int | None = None,
        splits: str | Path | None = None,
        fold: int = 0,
        seed: int = 0,
        foreground_oversampling: float = 0.33,
        augment: AugmentSettings = NNUNET,
        num_workers: NumWorkers = "auto",
        store: StoreName = "auto",
        cache_dir: str | Path | None = None,
        normalization: Literal["auto"] | list[str] = "auto",
        plan: str | Path | None = None,
        test_root: str | Path | None = None,
        regions: dict[str, list[int]] | None = None,
        regions_class_order: list[int] | None = None,
        ignore_label: int | None = None,
        labels: LabelKind | None = None,
        label_names: list[str] | None = None,
        group_pattern: str | None = None,
        skip_bad_cases: bool = False,
        instances: InstanceTarget | None = None,
    ) -> None:
        super().__init__(
            batch_size=MIN_BATCH
            if batch_size == "auto"
            else batch_size,  # "auto": known once there is a plan
            steps_per_epoch=steps_per_epoch,
            seed=seed,
            foreground_oversampling=foreground_oversampling,
            augment=augment,
            num_workers=num_workers,
            store=store,
        )
        self.division = Division(val_fraction, num_folds, Path(splits) if splits else None, fold, seed)
        self.root, self.test_root = Path(root), Path(test_root) if test_root else None
        self.settings = PlanSettings(spacing_mm, patch_size, batch_size, normalization, instances)
        self.plan_file = Path(plan) if plan else None
        self.cache_dir = Path(cache_dir) if cache_dir else None
        said = (regions, regions_class_order, ignore_label, labels, label_names, group_pattern)
        self.rules = DatasetRules(*said)
        self.skip_bad_cases = skip_bad_cases
        self.dataset: Dataset | None = None
        self._discovered: tuple[Case, ...] = ()
        self._cache: CaseCache | None = None

    # --- what there is -----------------------------------------------------------------------------

    @abstractmethod
    def find(self, root: Path) -> Dataset:
        """The cases of a dataset and what it declares.

        Raises:
            DatasetError: There is none, or it has problems; all of them are listed.
        """

    def prepare_plan(self) -> None:
        """Discover the cases and plan from their headers and voxels, or read the plan.

        Raises:
            DatasetError: No dataset, or cases that cannot be used; all of them are listed. A plan of other data.
            ConfigError: A plan file that cannot be used.
        """
        if self.dataset is not None:
            return
        dataset = self._discover(self.root)
        self._discovered = dataset.cases
        while self.dataset is None:
            try:
                self._take(self._propose(dataset))
                self.dataset = dataset
            except BadCasesError as error:  # of headers first, then of voxels where the plan needs them
                if not self.skip_bad_cases:
                    raise
                dataset = replace(dataset, cases=tuple(self._without(dataset.cases, error.problems)))
        warn_of_far_spacings(self._dataset, self.plan)

    @property
    def has_test_cases(self) -> bool:
        """Whether ``test_root`` was given."""
        return self.test_root is not None

    @property
    def example_images(self) -> Path:
        """The folder of the first test image, or of the first training image."""
        self.prepare_plan()
        cases = self.find_test_cases() if self.has_test_cases else self._dataset.cases
        return cases[0].images[0].parent

    def find_test_cases(self) -> Sequence[Case]:
        """The cases of ``test_root``; none where it was not given.

        Raises:
            DatasetError: Its labels, regions, ignore label or channels are not those of the training data.
        """
        if self.test_root is None:
            return ()
        test = self._discover(self.test_root)
        expected = _kind_of(self._dataset)
        for name, here in _kind_of(test).items():
            if here != expected[name]:
                raise DatasetError(
                    f"{self.test_root}: expected the {name} {expected[name]} of {self.root}, got {here}; "
                    f"give a dataset of the same kind"
                )
        return test.cases

    def require_split(self) -> None:
        """See ``SegmentationDataModule``; raises as ``split``."""
        self.split()

    def split(self) -> Split:
        """Which cases train and which validate.

        Raises:
            ConfigError: See ``Division.split``.
        """
        return self.division.split(self._discovered, self._dataset.cases)

    def folds(self) -> list[Split]:
        """The splits of all folds; a single one where no folds are asked for.

        Raises:
            ConfigError: See ``Division.folds``.
        """
        return self.division.folds(self._discovered, self._dataset.cases)

    def save_splits(self, path: Path) -> None:
        """Write all folds in nnU-Net's format."""
        write_splits(path, self.folds(), [case.case_id for case in self._dataset.cases])

    # --- what Lightning calls ----------------------------------------------------------------------

    def prepare_data(self) -> None:
        """Fill the cache, in one process a machine; bad cases are left for ``setup`` to tell all ranks."""
        self.prepare_plan()
        self._open_cache().build(self._dataset.cases)
        self._open_cache().build(self.find_test_cases(), "preparing test cases")

    def setup(self, stage: str) -> None:
        """Split the cases and open their prepared forms.

        Raises:
            DatasetError: Cases that cannot be used; all of them are listed.
        """
        self.prepare_plan()
        cache = self._open_cache()
        test_cases = self._usable(cache, self.find_test_cases())
        self.dataset = replace(self._dataset, cases=tuple(self._usable(cache, self._dataset.cases)))
        split = self.split()
        validation = [self._dataset.cases[i] for i in split.validation]
        training = [self._dataset.cases[i] for i in split.train]
        self.training_set = PatchDataset(cache, training, self.plan, self.augment_settings)
        if self.rank == 0 and stage == "fit":
            warn_of_absent_classes(self.training_set)
        self.validation_set = CaseDataset(cache, validation)
        self.test_set = CaseDataset(cache, test_cases) if self.has_test_cases else self.validation_set

    # --- parts -------------------------------------------------------------------------------------

    @property
    def _dataset(self) -> Dataset:
        assert self.dataset is not None, "prepare_plan comes first"
        return self.dataset

    def _discover(self, root: Path) -> Dataset:
        return self.rules.apply(self.find(root))

    def _open_cache(self) -> CaseCache:
        if self._cache is None:
            self._cache = CaseCache(self.cache_dir or user_cache_dir(), self.plan)
        return self._cache

    def _usable(self, cache: CaseCache, cases: Sequence[Case]) -> list[Case]:
        return self._without(cases, cache.build(cases))

    def _propose(self, dataset: Dataset) -> Proposal:
        if self.plan_file is not None:
            replan = self.rules.command(self.root, self.plan_file)
            return load_proposal(self.plan_file, dataset, self.settings, replan)
        return propose_once(dataset, self.settings, self.cache_dir or user_cache_dir())

    def _take(self, proposal: Proposal) -> None:
        self.plan, self.proposal = proposal.plan, proposal
        if self.settings.normalization == "auto" and self.plan_file is None:
            for reason in guessed_channels(proposal.plan.channel_names, proposal.plan.normalization):
                _LOG.info("channel %s; or set normalization", reason)
        if self.settings.batch_size == "auto":
            self.batch_size = proposal.training.batch_size
            _LOG.info("batches of %d patches of %s voxels", self.batch_size, list(self.plan.patch_size))

    def _without(self, cases: Sequence[Case], problems: Mapping[str, str]) -> list[Case]:
        """The cases that are left: an error where bad ones are not to be skipped, or are all there is."""
        kept = [case for case in cases if case.case_id not in problems]
        if not problems:
            return kept
        listed = "\n".join(f"  - case {case_id}: {problem}" for case_id, problem in sorted(problems.items()))
        if not self.skip_bad_cases:
            raise DatasetError(
                f"{self.root}: {len(problems)} case(s) cannot be used; correct them, or set skip_bad_cases "
                f"to leave them out:\n{listed}"
            )
        if not kept:
            raise DatasetError(f"{self.root}: no usable case is left; correct some of them:\n{listed}")
        warnings.warn(f"{self.root}: {len(problems)} case(s) are left out:\n{listed}", stacklevel=3)
        return kept


def _kind_of(dataset: Dataset) -> dict[str, object]:
    # all that is declared, also what is added one day
    declared = {"labels" if name == "names" else name: value for name, value in vars(dataset.labels).items()}
    return {**declared, "channels": dataset.channel_names}
