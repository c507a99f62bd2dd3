"""The same intensities as ``normalize`` gives, made on an accelerator, where a large volume takes milliseconds."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from medconv.io.geometry import turning
from medconv.io.volume import Volume
from medconv.planning import Intensity
from medconv.transforms.normalize import PERCENTILES, RANGE_PERCENTILES, zero_and_unit

_KINDS = ("zscore", "percentile", "range", "ct", "none")


def can_normalize(kinds: Sequence[str]) -> bool:
    """Whether all these kinds are known here; others are left to the processor."""
    return all(kind in _KINDS for kind in kinds)


def turn_on_device(volume: Volume, orientation: str, device: torch.device) -> Tensor:
    """The voxels of a volume on a device, axes flipped and permuted there; see ``medconv.io.geometry.reorient``.

    The memory travels as it lies: arranging it anew costs a processor a second and a GPU nothing.
    """
    axes, flips = turning(volume.geometry.orientation, orientation)
    voxels = volume.data
    if not voxels.flags.writeable or min(voxels.strides) < 0:  # PyTorch takes neither over
        voxels = voxels.copy()
    data = torch.from_numpy(voxels).to(device)
    turned = data.permute(0, *(axis + 1 for axis in axes))
    return turned.flip([axis for axis, flip in enumerate(flips, start=1) if flip]).contiguous()


def normalize_tensor(
    data: Tensor,
    kinds: Sequence[str],
    intensity: Sequence[Intensity | None],
    name: str = "the volume",
    mask: Tensor | None = None,
) -> Tensor:
    """Scale each channel in its own way; see ``medconv.transforms.normalize``.

    Args:
        data: ``(C, *S)`` on any device, finite.
        kinds: One a channel.
        intensity: One entry a channel; used by ``"ct"``.
        name: How warnings call the volume.
        mask: ``(*S)`` bool: where ``"zscore"``, ``"percentile"`` and ``"range"`` look; they set all other voxels to 0.

    Returns:
        ``(C, *S)`` float32. A channel with one value only becomes 0, with a warning.

    Example:
        >>> normalize_tensor(torch.tensor([[[[1.0, 3.0]]]]), ("zscore",), (None,))
        tensor([[[[-1.,  1.]]]])
    """
    result = torch.empty(data.shape, dtype=torch.float32, device=data.device)
    for number, (channel, kind, entry) in enumerate(zip(data, kinds, intensity, strict=True)):
        result[number] = _normalize_channel(channel, kind, entry, f"{name}, channel {number}", mask)
    return result


def _normalize_channel(
    channel: Tensor, kind: str, intensity: Intensity | None, name: str, mask: Tensor | None
) -> Tensor:
    if kind == "none":
        return channel
    if kind == "ct":
        assert intensity is not None, "a plan with 'ct' has intensities"
        clipped = channel.clamp(intensity.low, intensity.high)
        return (clipped.double() - intensity.mean) / intensity.std
    if mask is not None:
        scaled = torch.zeros(channel.shape, dtype=torch.float64, device=channel.device)
        scaled[mask] = _normalize_channel(channel[mask], kind, intensity, name, None).double()
        return scaled
    limits = {"percentile": PERCENTILES, "range": RANGE_PERCENTILES}.get(kind)
    if limits is not None:
        channel = channel.clamp(*_percentiles(channel, limits))
    if channel.min() == channel.max():
        warnings.warn(
            f"{name}: every voxel is {float(channel.flatten()[0]):g}; set to 0. Is this the right file?",
            stacklevel=4,
        )
        return torch.zeros_like(channel)
    exact = channel.double()
    if kind == "range":
        zero, unit = zero_and_unit(float(exact.min()), float(exact.max()))
        return (exact - zero) / unit
    std, mean = torch.std_mean(exact, correction=0)
    return (exact - mean) / std


def _percentiles(channel: Tensor, percents: Sequence[float]) -> list[float]:
    """Linear between the nearest two values, as NumPy's; torch.quantile refuses large volumes."""
    values = channel.flatten().sort().values
    places = [(len(values) - 1) * percent / 100 for percent in percents]
    below = [int(place) for place in places]
    low = values[below].double()
    high = values[[min(n + 1, len(values) - 1) for n in below]].double()
    share = torch.tensor([p - n for p, n in zip(places, below, strict=True)], dtype=torch.float64)
    return [float(x) for x in low + (high - low) * share.to(low.device)]
