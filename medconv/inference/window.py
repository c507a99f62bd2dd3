"""Sliding window: any network over a volume of any size, blended so that no seam shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from monai.inferers import sliding_window_inference
from torch import Tensor

from medconv.errors import ConfigError, ShapeError

Network = Callable[[Tensor], Tensor]
"""What this room runs: patches ``(B, C, *P)`` in, scores ``(B, K, *P)`` out."""

SIGMA_SHARE = 0.125
"""Width of the Gaussian blend as a share of the patch edge, as in nnU-Net."""


def sliding_window(
    network: Network,
    image: Tensor,
    patch_size: Sequence[int],
    *,
    overlap: float = 0.5,
    batch_size: int = 4,
    device: torch.device | None = None,
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
        batch_size: Patches given to the network at once.
        device: Where the network is; ``None``: where the image is. The result is gathered where the image is:
            an image on the CPU saves ``4 K prod(S)`` bytes of the accelerator and costs copies.

    Shape:
        - Input ``(1, C, *S)``, floating.
        - Output ``(1, K, *S)``, float32.

    Raises:
        ShapeError: More than one volume, or a patch of another rank than the volume.
        ConfigError: An overlap or batch size out of its range.

    Cost:
        About ``prod(S / (P (1 - overlap)))`` patches; 8 times as many at 0.5 as at 0 in 3-D.

    Example:
        >>> image = torch.rand(1, 1, 20, 9)
        >>> torch.allclose(sliding_window(torch.nn.Identity(), image, (8, 12)), image, atol=1e-6)
        True
    """
    _check(image, patch_size, overlap, batch_size)

    def in_float32(patches: Tensor) -> Tensor:
        # MONAI multiplies what it gets in place: never in half precision, never in the network's own memory
        return network(patches).to(torch.float32, copy=True)

    scores = sliding_window_inference(
        image.to(torch.float32),
        tuple(patch_size),
        batch_size,
        in_float32,
        overlap=overlap,
        mode="gaussian",
        sigma_scale=SIGMA_SHARE,
        sw_device=device,
        device=image.device,
    )
    assert isinstance(scores, Tensor)
    return scores


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
