"""How the cases of a dataset are divided: by a share, into folds, or as a file says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medconv.datamodules.splits import Split, split_folds, split_fraction
from medconv.datamodules.splits_file import read_split, read_splits
from medconv.errors import ConfigError
from medconv.io import Case

_VAL_FRACTION = 0.2


@dataclass(frozen=True)
class Division:
    """One way to divide cases into those that train and those that validate.

    All cases that a dataset has are divided, and only then those that cannot be used are left out: a fold is the same
    before and after a case is repaired, and a split file may name what was left out.

    Args:
        val_fraction: Share of cases to validate on (by group); ``None`` is 0.2 without ``num_folds`` and ``splits``.
        num_folds: Folds of a cross-validation.
        splits: A split file of nnU-Net.
        fold: The fold to validate on, from 0.
        seed: Of the division.

    Raises:
        ConfigError: Two ways at once, or a fold where there are none.
    """

    val_fraction: float | None
    num_folds: int | None
    splits: Path | None
    fold: int
    seed: int

    def __post_init__(self) -> None:
        ways = {"val_fraction": self.val_fraction, "num_folds": self.num_folds, "splits": self.splits}
        given = [f"{name}={value}" for name, value in ways.items() if value is not None]
        if len(given) > 1:
            raise ConfigError(
                f"expected one way to divide the cases, got {' and '.join(given)}; give one of them"
            )
        if self.num_folds is None and self.splits is None and self.fold != 0:
            raise ConfigError(
                f"fold={self.fold} has no effect without num_folds or splits; give one of them too"
            )

    def split(self, cases: Sequence[Case], usable: Sequence[Case]) -> Split:
        """The chosen fold.

        Args:
            cases: All that the dataset has.
            usable: Those of them that are left; the split holds positions among these.

        Raises:
            ConfigError: The split file or the fold does not exist or does not fit the dataset, or no usable case is
                left on one side.
        """
        split = _among(usable, cases, self._divide(cases, self.fold))
        for positions, task in ((split.train, "train"), (split.validation, "validate")):
            if not positions:
                raise ConfigError(
                    f"fold {self.fold}: no usable case is left to {task} on; repair the cases that are left out, or "
                    "choose another fold, seed or division"
                )
        return split

    def folds(self, cases: Sequence[Case], usable: Sequence[Case]) -> list[Split]:
        """The splits of all folds; a single one where no folds are asked for. Arguments as of ``split``.

        Raises:
            ConfigError: The split file does not exist or does not fit the dataset.
        """
        number = self.num_folds or (len(read_splits(self.splits)) if self.splits else 1)
        return [_among(usable, cases, self._divide(cases, fold)) for fold in range(number)]

    def _divide(self, cases: Sequence[Case], fold: int) -> Split:
        if self.splits is not None:
            return read_split(self.splits, fold, [case.case_id for case in cases])
        groups = [case.group for case in cases]
        if self.num_folds is not None:
            return split_folds(groups, self.num_folds, fold, self.seed)
        return split_fraction(
            groups, _VAL_FRACTION if self.val_fraction is None else self.val_fraction, self.seed
        )


def _among(usable: Sequence[Case], cases: Sequence[Case], split: Split) -> Split:
    place = {case.case_id: position for position, case in enumerate(usable)}
    train, validation = (
        tuple(place[cases[i].case_id] for i in side if cases[i].case_id in place)
        for side in (split.train, split.validation)
    )
    return Split(train, validation)
