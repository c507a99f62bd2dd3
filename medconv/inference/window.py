"""Sliding window: any network over a volume of any size, blended so that no seam shows.

Tiles are blended row by row along the first axis, and rows that no later tile touches are final: who reads them
in order never needs the scores of all classes for the whole volume.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice, product

import torch
import torch.nn.functional as F
from torch import Tensor

from medconv.errors import ConfigError, ShapeError
from medconv.inference.tiles import Blend, tile_parts, tile_starts, tile_trust, total_trust
from medconv.inference.turns import Turn, identity_turn

Network = Callable[[Tensor], Tensor]
"""What this room runs: patches ``(B, C, *P)`` in, scores ``(B, K, *P)`` out."""

_Job = tuple[tuple[slice, ...], Turn]


def sliding_window(
    network: Network,
    image: Tensor,
    patch_size: Sequence[int],
    *,
    overlap: float = 0.5,
    batch_size: int = 4,
    device: torch.device | None = None,
    blend: Blend = "gaussian",
    turns: Sequence[Turn] = (),
) -> Tensor:
    r"""Run ``network`` on overlapping patches and average them, each patch trusted most at its centre.

    .. math:: y(q) = \sum_t g(q - t) \, f(x_t)(q - t) \; / \; \sum_t g(q - t)

    ``g`` is a Gaussian over the patch. A volume smaller than the patch is padded with zeros on both sides
    and the result is cropped back. Scores are blended in float32 whatever the network's precision.

    Args:
        network: Maps ``(B, C, *P)`` to ``(B, K, *P)``; ``B`` is at most ``batch_size``.
        image: One preprocessed volume.
        patch_size: ``*P``, one entry a spatial axis, in voxels.
        overlap: Share of a patch that its neighbour covers too, from 0 up to, but not including, 1.
        batch_size: Patches given to the network at once, turned copies included.
        device: Where the network is; ``None``: where the image is. The result is gathered where the image is:
            an image on the CPU saves ``4 K prod(S)`` bytes of the accelerator and costs copies.
        blend: ``"gaussian"``, or ``"crop"``: each voxel from the patch with the nearest centre, exactly.
        turns: Average over these turned copies of each patch, from ``all_turns``; none: as it is.

    Shape:
        - Input ``(1, C, *S)``, floating.
        - Output ``(1, K, *S)``, float32.

    Raises:
        ShapeError: More than one volume, or a patch or scores that do not fit it.
        ConfigError: An overlap or batch size out of its range.

    Cost:
        About ``prod(S / (P (1 - overlap)))`` patches; 8 times as many at 0.5 as at 0 in 3-D; times the turns.

    Example:
        >>> image = torch.rand(1, 1, 20, 9)
        >>> torch.allclose(sliding_window(torch.nn.Identity(), image, (8, 12)), image, atol=1e-6)
        True
    """
    _check(image, patch_size, overlap, batch_size)
    scores = TileRows(
        network,
        image,
        patch_size,
        overlap=overlap,
        batch_size=batch_size,
        device=device,
        blend=blend,
        turns=turns,
    )
    return _whole(scores, image.shape[2:], patch_size[0])


def _whole(scores: TileRows, size: Sequence[int], step: int) -> Tensor:
    """All rows of the scores."""
    rows = scores.rows(0, min(step, size[0]))
    result = rows.new_empty(1, len(rows), *size)
    result[0, :, :step] = rows
    for start in range(step, size[0], step):
        result[0, :, start : start + step] = scores.rows(start, min(start + step, size[0]))
    return result


class TileRows:
    """The blended scores of a volume, made row of tiles by row of tiles while somebody reads them in order.

    Args:
        network: See :func:`sliding_window`, as all that follow.
        image: One preprocessed volume ``(1, C, *S)``; rows are gathered on its device.
        patch_size: See above.
        overlap: See above.
        batch_size: See above.
        device: See above.
        blend: See above.
        turns: See above.
        most_rows: The most rows that are asked for at once; ``None``: as many as a patch has.

    Cost:
        ``4 K (P_1 + most_rows) prod(S_2 …)`` bytes, where the whole scores would take ``4 K prod(S)``.
    """

    def __init__(
        self,
        network: Network,
        image: Tensor,
        patch_size: Sequence[int],
        *,
        overlap: float = 0.5,
        batch_size: int = 4,
        device: torch.device | None = None,
        blend: Blend = "gaussian",
        turns: Sequence[Turn] = (),
        most_rows: int | None = None,
    ) -> None:
        _check(image, patch_size, overlap, batch_size)
        self._network, self._batch_size = network, batch_size
        self._device = device or image.device
        self._patch = tuple(patch_size)
        self._size = tuple(image.shape[2:])
        self._turns = tuple(turns) or (identity_turn(len(self._patch)),)
        self._image, self._margins = _padded(image[0], self._patch)
        padded = self._image.shape[1:]
        self._starts = [tile_starts(n, p, overlap) for n, p in zip(padded, self._patch, strict=True)]
        self._trust = tile_trust(self._patch, blend).to(self._device)
        axes = list(zip(padded, self._patch, self._starts, strict=True))
        self._totals = [total_trust(*axis, blend) for axis in axes]
        self._parts = [tile_parts(*axis, blend) for axis in axes]
        self._room = min(padded[0], self._patch[0] + (most_rows or self._patch[0]))
        self._rows: Tensor | None = None  # (K, room, *S[1:]) of the padded volume, from row self._first on
        self._first = 0
        self._final = 0
        self._next_row = 0

    def rows(self, start: int, stop: int) -> Tensor:
        """Scores ``(K, stop - start, *S[1:])`` in float32: a view that holds until the next call.

        Neither ``start`` nor ``stop`` may be smaller than in the call before.
        """
        before = self._margins[0]
        while self._final < before + stop:
            self._blend_next(keep_from=before + start, wanted=before + stop)
        assert self._rows is not None
        offset = before - self._first
        assert offset + start >= 0, "rows were asked for again after they were dropped"
        inner = tuple(
            slice(margin, margin + n) for margin, n in zip(self._margins[1:], self._size[1:], strict=True)
        )
        return self._rows[(slice(None), slice(offset + start, offset + stop), *inner)]

    def _blend_next(self, keep_from: int, wanted: int) -> None:
        """Blend the next rows of tiles in, after the rows before ``keep_from`` have made room for them.

        One row of tiles; more, so that fewer passes do, where they are wanted anyway and there is room.
        """
        starts, patch = self._starts[0], self._patch[0]
        first, after = starts[self._next_row], self._next_row + 1
        self._drop(min(keep_from, first), first + patch)
        while (
            after < len(starts)
            and starts[after] < wanted
            and starts[after] + patch <= self._first + self._room
        ):
            after += 1
        jobs = chain.from_iterable(map(self._jobs, starts[self._next_row : after]))
        while batch := list(islice(jobs, self._batch_size)):
            self._add(batch)
        self._next_row = after
        self._finish(starts[after] if after < len(starts) else self._image.shape[1])

    def _jobs(self, start: int) -> Iterator[_Job]:
        for corner in product([start], *self._starts[1:]):
            place = tuple(slice(n, n + p) for n, p in zip(corner, self._patch, strict=True))
            yield from ((place, turn) for turn in self._turns)

    def _add(self, batch: Sequence[_Job]) -> None:
        tiles = torch.stack([turn.apply(self._image[(slice(None), *place)]) for place, turn in batch])
        scores = self._network(tiles.to(self._device))
        if scores.shape[0] != len(batch) or scores.shape[2:] != self._patch:
            raise ShapeError(
                f"expected scores (B, K, *P) for patches {tuple(tiles.shape)}, got {tuple(scores.shape)}"
            )
        rows = self._rows_for(scores.shape[1])
        for (place, turn), score in zip(batch, scores, strict=True):
            parts = [parts[axis.start] for parts, axis in zip(self._parts, place, strict=True)]
            starts = [place[0].start - self._first, *(axis.start for axis in place[1:])]
            used = tuple(slice(n + part.start, n + part.stop) for n, part in zip(starts, parts, strict=True))
            target, turned = rows[(slice(None), *used)], turn.undo(score)[(slice(None), *parts)]
            trust = self._trust[tuple(parts)]
            if target.device == turned.device:
                target.addcmul_(turned.to(target.dtype), trust)
            else:
                target += (turned * trust).to(target.device)

    def _rows_for(self, classes: int) -> Tensor:
        if self._rows is None:
            shape = (classes, self._room, *self._image.shape[2:])
            self._rows = torch.zeros(shape, dtype=torch.float32, device=self._image.device)
        return self._rows

    def _drop(self, first: int, stop: int) -> None:
        """Move the rows from ``first`` on to the front, so that there is room for those up to ``stop``."""
        if self._rows is None or stop - self._first <= self._room:
            return
        step = first - self._first
        assert stop - first <= self._room, "more rows at once than were announced"
        # piece by piece, each to where the one before came from: no second buffer
        for start in range(0, self._room - step, step):
            end = min(start + step, self._room - step)
            self._rows[:, start:end] = self._rows[:, start + step : end + step]
        self._rows[:, self._room - step :] = 0
        self._first = first

    def _finish(self, final: int) -> None:
        """Divide the rows that no later tile touches by the trust put into them."""
        assert self._rows is not None
        along = slice(self._final - self._first, final - self._first)
        rows = self._rows[:, along]
        for axis, total in enumerate(self._totals, start=1):
            part = total[self._final : final] * len(self._turns) if axis == 1 else total
            rows /= part.view(-1, *(1,) * (len(self._patch) - axis)).to(rows.device)
        self._final = final


def _padded(image: Tensor, patch: tuple[int, ...]) -> tuple[Tensor, tuple[int, ...]]:
    """The image with zeros around it where it is smaller than a patch, and how many lie before each axis."""
    missing = [max(0, p - n) for n, p in zip(image.shape[1:], patch, strict=True)]
    margins = tuple(m // 2 for m in missing)
    if not any(missing):
        return image, margins
    pads = [
        n
        for m, before in zip(reversed(missing), reversed(margins), strict=True)
        for n in (before, m - before)
    ]
    return F.pad(image, pads), margins


def _check(image: Tensor, patch_size: Sequence[int], overlap: float, batch_size: int) -> None:
    if image.dim() < 3 or image.shape[0] != 1:
        raise ShapeError(f"expected one volume (1, C, *S), got {tuple(image.shape)}")
    if len(patch_size) != image.dim() - 2:
        raise ShapeError(
            f"expected patch_size with {image.dim() - 2} entries for a volume {tuple(image.shape)}, "
            f"got {tuple(patch_size)}"
        )
    if min(patch_size) < 1 or batch_size < 1:
        raise ConfigError(
            f"expected patch edges and batch_size from 1, got {tuple(patch_size)} and {batch_size}"
        )
    if not 0 <= overlap < 1:
        raise ConfigError(f"expected overlap from 0 up to, not including, 1; got {overlap}")
