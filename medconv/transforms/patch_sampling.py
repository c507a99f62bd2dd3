"""Patches from whole volumes: position, rotation and zoom in one sampling, for a whole batch at once.

Where patches are cut first and turned afterwards, their corners come from outside and are empty although the
volume goes on there; here a turned patch reaches into the volume wherever that has voxels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations, product
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medconv.errors import ShapeError
from medconv.transforms.crop import cut
from medconv.types import FloatArray

Array = npt.NDArray[Any]
_Corner = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class PackedVolumes:
    """Volumes of different sizes end to end, so that one gather reads from all of them.

    Args:
        image: ``(C, T)``, all voxels of all volumes; of a smaller type than float32 where that holds them.
        label: ``(T,)``, integers.
        offset: ``(N,)`` int64, where each volume begins.
        shape: ``(N, d)`` int64, ``*S`` of each.
    """

    image: Tensor
    label: Tensor
    offset: Tensor
    shape: Tensor

    @classmethod
    def of(
        cls, images: Sequence[Array], labels: Sequence[Array], device: torch.device | str
    ) -> PackedVolumes:
        """Pack images ``(C, *S)`` and labels ``(1, *S)``; memory-mapped ones are read one after the other.

        Raises:
            ShapeError: No volumes, or an image and a label of different sizes.
        """
        shapes = [image.shape[1:] for image in images]
        if not shapes or [label.shape for label in labels] != [(1, *shape) for shape in shapes]:
            raise ShapeError(
                f"expected at least one image (C, *S), each with a label (1, *S); got images of {shapes} "
                f"and labels of {[label.shape[1:] for label in labels]}"
            )
        volumes = cls.empty(len(images[0]), shapes, labels[0].dtype, device)
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            volumes.put(i, image, label)
        return volumes

    @classmethod
    def empty(
        cls,
        channels: int,
        shapes: Sequence[Sequence[int]],
        label_type: Any,
        device: torch.device | str,
        image_type: torch.dtype = torch.float32,
        *,
        pinned: bool = False,
    ) -> PackedVolumes:
        """Room for volumes of these shapes, to be filled one by one; pinned, a GPU can copy it by itself."""
        ends = np.cumsum([0, *(prod(shape) for shape in shapes)])
        voxels, label_dtype = int(ends[-1]), torch.from_numpy(np.empty(0, label_type)).dtype
        place: dict[str, Any] = {"device": device, "pin_memory": pinned}
        image = torch.empty((channels, voxels), dtype=image_type, **place)
        label = torch.empty(voxels, dtype=label_dtype, **place)
        offset = torch.tensor(ends[:-1].tolist(), dtype=torch.int64, **place)
        return cls(image, label, offset, torch.tensor([[*s] for s in shapes], dtype=torch.int64, **place))

    def put(self, i: int, image: Array, label: Array) -> None:
        """Copy volume ``i``, ``(C, *S)`` and ``(1, *S)``, to its place."""
        start = int(self.offset[i])
        self.image[:, start : start + label.size] = torch.from_numpy(np.array(image).reshape(len(image), -1))
        self.label[start : start + label.size] = torch.from_numpy(np.array(label).reshape(-1))

    def view(self, i: int) -> tuple[Array, Array]:
        """Volume ``i``, ``(C, *S)`` and ``(1, *S)``, where it lies in the memory of the host."""
        start, shape = int(self.offset[i]), self.shape[i].tolist()
        part = slice(start, start + prod(shape))
        return self.image.numpy()[:, part].reshape(-1, *shape), self.label.numpy()[part].reshape(1, *shape)

    def to(self, device: torch.device) -> PackedVolumes:
        """The same on a device; nothing waits for the copy of pinned memory."""
        moved = (x.to(device, non_blocking=True) for x in (self.image, self.label, self.offset, self.shape))
        return PackedVolumes(*moved)


def sample_patches(
    volumes: PackedVolumes,
    cases: Tensor,
    starts: Tensor,
    patch_size: Sequence[int],
    turned: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Windows of volumes, some of them turned and zoomed about their centre.

    .. math:: y(q) = x(c + A (q - \tfrac{P - 1}{2})), \qquad c = start + \tfrac{P - 1}{2}

    Images are interpolated linearly. A voxel gets the label with the largest linear share, as in nnU-Net, the
    smaller one of two with equal shares. Outside a volume the image is 0 and the label background. Windows
    that are not turned keep every bit.

    Args:
        volumes: What is sampled.
        cases: ``(B,)`` int64, which volume.
        starts: ``(B, d)`` int64, the window's first voxel; may lie outside.
        patch_size: ``*P``.
        turned: Rows ``(n,)`` and matrices ``A (n, d, d)`` in voxels, see ``voxel_matrix``; ``None``: none.

    Shape:
        Outputs ``(B, C, *P)`` float32 and ``(B, 1, *P)`` in the type of the labels.

    Cost:
        One gather for the windows; for turned ones ``2^d`` gathers of image and label and, whatever the number
        of classes, ``4^d`` comparisons a voxel. Nothing waits for the device.
    """
    reach = [torch.arange(p, device=starts.device) for p in patch_size]
    along = [starts[:, a, None] + reach[a] for a in range(len(patch_size))]
    index, inside = _address(volumes, cases, [_spread(x, a, len(along)) for a, x in enumerate(along)])
    image = volumes.image[:, index].to(torch.float32).mul_(inside).movedim(1, 0).contiguous()
    label = volumes.label[index].mul_(inside)[:, None]
    if turned is not None:
        rows, matrices = turned
        image[rows], label[rows] = _sample_turned(volumes, cases[rows], starts[rows], patch_size, matrices)
    return image, label


def sample_turned_patch(
    image: Array, label: Array, start: Sequence[int], patch_size: Sequence[int], matrix: FloatArray
) -> tuple[Tensor, Tensor]:
    """One turned patch of one volume; only the part of it that the patch reaches is read.

    Args:
        image: ``(C, *S)``, memory-mapped or not.
        label: ``(1, *S)``.
        start: See ``sample_patches``.
        patch_size: ``*P``.
        matrix: ``(d, d)``, see ``sample_patches``.

    Shape:
        Outputs ``(C, *P)`` and ``(1, *P)``.
    """
    low, high = reached_box(start, patch_size, label.shape[1:], matrix)
    parts = [cut(array, low.tolist(), (high - low).tolist()) for array in (image, label)]
    sampled, moved = _sample_turned(
        PackedVolumes.of(parts[:1], parts[1:], "cpu"),
        torch.zeros(1, dtype=torch.int64),
        torch.from_numpy(np.asarray(start) - low)[None],
        patch_size,
        torch.from_numpy(matrix.astype(np.float32))[None],
    )
    return sampled[0], moved[0]


def reached_box(
    start: Sequence[int], patch_size: Sequence[int], shape: Sequence[int], matrix: FloatArray | None = None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """First voxel, and the one after the last, of the part of a volume that a patch reads; never empty.

    Args:
        start: See ``sample_patches``.
        patch_size: ``*P``.
        shape: ``*S`` of the volume.
        matrix: Of a turned patch, see ``sample_patches``.

    Example:
        >>> reached_box([-2], [5], [10])
        (array([0]), array([3]))
    """
    begin, size, most = np.asarray(start), np.asarray(patch_size), np.asarray(shape)
    if matrix is None:
        first, last = begin, begin + size
    else:
        centre, reach = begin + (size - 1) / 2, np.abs(matrix) @ ((size - 1) / 2)
        # a voxel to spare on each side, for rounding
        first, last = np.floor(centre - reach) - 1, np.ceil(centre + reach) + 2
    low = np.clip(first, 0, most - 1).astype(np.int64)
    return low, np.clip(last, low + 1, most).astype(np.int64)


def _sample_turned(
    volumes: PackedVolumes, cases: Tensor, starts: Tensor, patch_size: Sequence[int], matrices: Tensor
) -> tuple[Tensor, Tensor]:
    dims = len(patch_size)
    below, fraction = [], []
    for a in range(dims):
        position = (starts[:, a] + (patch_size[a] - 1) / 2).to(torch.float32).view(-1, *[1] * dims)
        for b, size in enumerate(patch_size):
            offset = torch.arange(size, device=starts.device) - (size - 1) / 2
            position = position + _spread(matrices[:, a, b, None] * offset, b, dims)
        floor = position.floor()
        below.append(floor.to(torch.int64))
        fraction.append(position - floor)
    image: Tensor | float = 0.0
    corners: list[_Corner] = []
    for upper in product((False, True), repeat=dims):
        index, inside = _address(volumes, cases, [x + up for x, up in zip(below, upper, strict=True)])
        share = reduce(torch.mul, (f if up else 1 - f for f, up in zip(fraction, upper, strict=True)))
        image = image + volumes.image[:, index] * (share * inside)
        corners.append((share, volumes.label[index] * inside))
    assert torch.is_tensor(image)
    return image.movedim(1, 0), largest_share(corners)[:, None]


def _address(volumes: PackedVolumes, cases: Tensor, positions: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Where voxels lie in the packed arrays, and whether they are inside; those outside point to some inside."""
    dims = len(positions)
    size = volumes.shape[cases].view(len(cases), dims, *[1] * dims)
    index, inside = volumes.offset[cases].view(-1, *[1] * dims), None
    for a, position in enumerate(positions):
        stride = size[:, a + 1 :].prod(1)
        index = index + position.clamp_min(0).minimum(size[:, a] - 1) * stride
        here = (position >= 0) & (position < size[:, a])
        inside = here if inside is None else inside & here
    assert inside is not None
    return index, inside


def _spread(values: Tensor, axis: int, dims: int) -> Tensor:
    """``(n, P)`` as ``(n, 1, …, P, …, 1)`` of ``dims`` spatial axes."""
    return values.view(len(values), *(values.shape[1] if a == axis else 1 for a in range(dims)))


def largest_share(corners: Sequence[_Corner]) -> Tensor:
    """The label whose corners have the largest share together."""
    total = [share.clone() for share, _ in corners]
    for i, j in combinations(range(len(corners)), 2):
        same = corners[i][1] == corners[j][1]
        total[i] += corners[j][0] * same
        total[j] += corners[i][0] * same
    best, label = total[0], corners[0][1]
    for share, (_, candidate) in zip(total[1:], corners[1:], strict=True):
        better = (share > best) | ((share == best) & (candidate < label))
        best, label = torch.where(better, share, best), torch.where(better, candidate, label)
    return label
