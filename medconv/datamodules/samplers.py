"""Which case comes when: pure functions of seed, epoch, rank and world; a resumed run loses no sample.

Both samplers are ``DistributedSampler``s in name, because that is how Lightning knows that a loader already
has its rank's share: it would otherwise wrap them in one that pads the evaluation and shares the share again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset, DistributedSampler

from medconv.errors import ConfigError
from medconv.transforms.keyed_random import sample_key


class Sample(NamedTuple):
    """What the training dataset is asked for."""

    case: int
    """Position of the case among the training cases."""
    key: int
    """All chance in this sample (crop, augmentation) follows from it; no other sample of the run has it."""
    on_foreground: bool
    """Whether the patch is centred on a structure."""


class _Count(Dataset):
    """What ``DistributedSampler`` wants to know of a dataset: its length."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        return self._length


class TrainingSampler(DistributedSampler):
    """Draw training samples: all cases in a new order, again and again, cut into epochs of a chosen length.

    The samples of a run are numbered across epochs. Number ``n`` is entry ``n mod num_cases`` of the
    ``n // num_cases``-th shuffling, so cases are visited equally often (±1) at any time, whatever the epoch's
    length. One step of all ranks is one block of consecutive numbers: the ranks see disjoint samples, and
    their union does not depend on how many they are.

    Args:
        num_cases: Training cases.
        batch_size: Samples in one rank's batch.
        steps_per_epoch: Batches an epoch, of all ranks together; rounded up to a multiple of ``world``.
        seed: Another seed is another run.
        foreground_share: Share of samples centred on a structure, spread evenly over the batches.
        rank: This process.
        world: All processes.

    Raises:
        ConfigError: A count below 1, or a share outside 0 to 1.

    Example:
        >>> sampler = TrainingSampler(num_cases=3, batch_size=2, steps_per_epoch=3, seed=0)
        >>> sorted(sample.case for sample in sampler)
        [0, 0, 1, 1, 2, 2]
    """

    def __init__(
        self,
        num_cases: int,
        batch_size: int,
        steps_per_epoch: int,
        seed: int,
        *,
        foreground_share: float = 0.0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if min(num_cases, batch_size, steps_per_epoch) < 1:
            raise ConfigError(
                f"expected at least 1 training case, batch_size and steps_per_epoch, "
                f"got {num_cases}, {batch_size} and {steps_per_epoch}"
            )
        if not 0 <= foreground_share <= 1:
            raise ConfigError(f"expected a foreground share between 0 and 1, got {foreground_share}")
        super().__init__(_Count(num_cases), num_replicas=world, rank=rank, seed=seed)
        self.num_cases, self.batch_size = num_cases, batch_size
        self.num_batches = -(-steps_per_epoch // world)
        self.foreground_share = foreground_share
        self._skipped_batches = 0
        self._cached_order: tuple[int, np.ndarray] | None = None

    def __len__(self) -> int:
        """Samples of this rank in a whole epoch, also when the present one was entered in its middle."""
        return self.num_batches * self.batch_size

    def __iter__(self) -> Iterator[Sample]:
        """The samples of the present epoch, without the batches that were trained before a resume."""
        return self._samples(self.epoch, self._skipped_batches)

    def next_epoch(self) -> Iterator[Sample]:
        """The samples of the epoch after the present one."""
        return self._samples(self.epoch + 1, 0)

    def _samples(self, epoch: int, skipped: int) -> Iterator[Sample]:
        block = self.batch_size * self.num_replicas
        first = (epoch * self.num_batches + skipped) * block + self.rank * self.batch_size
        for batch in range(self.num_batches - skipped):
            for place in range(self.batch_size):
                yield self.sample(first + batch * block + place)

    def sample(self, number: int) -> Sample:
        """The ``number``-th sample of the whole run."""
        shuffling, place = divmod(number, self.num_cases)
        on_foreground = int((number + 1) * self.foreground_share) > int(number * self.foreground_share)
        return Sample(int(self._order(shuffling)[place]), sample_key(self.seed, number), on_foreground)

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch, as Lightning does before each; the one resumed into keeps its skipped batches."""
        if epoch != self.epoch:
            self._skipped_batches = 0
        self.epoch = epoch

    def resume(self, epoch: int, batches: int) -> None:
        """Continue after ``batches`` trained batches of ``epoch``."""
        past_epochs, self._skipped_batches = divmod(batches, self.num_batches)
        self.epoch = epoch + past_epochs

    def _order(self, shuffling: int) -> np.ndarray:
        if self._cached_order is None or self._cached_order[0] != shuffling:
            rng = np.random.default_rng([self.seed, shuffling])
            self._cached_order = (shuffling, rng.permutation(self.num_cases))
        return self._cached_order[1]


class EvaluationSampler(DistributedSampler):
    """Every ``world``-th case from ``rank`` on: each case in exactly one rank, none twice to even out.

    Example:
        >>> list(EvaluationSampler(5, rank=1, world=2))
        [1, 3]
    """

    def __init__(self, num_cases: int, *, rank: int = 0, world: int = 1) -> None:
        super().__init__(_Count(num_cases), num_replicas=world, rank=rank, shuffle=False)
        self._cases = range(rank, num_cases, world)

    def __len__(self) -> int:
        """Cases of this rank; ranks may differ by one."""
        return len(self._cases)

    def __iter__(self) -> Iterator[int]:
        """Positions of this rank's cases, ascending."""
        return iter(self._cases)
