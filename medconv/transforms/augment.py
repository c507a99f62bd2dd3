"""Augmentation of whole training batches on the device where they lie, steered by one key a sample."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from medconv.errors import ShapeError
from medconv.ndim import check_spatial_dims
from medconv.transforms.augment_draw import (
    INTENSITY_CHANGES,
    Int64Array,
    Pick,
    draw_picks,
    noise_seeds,
)
from medconv.transforms.augment_elastic import deform, displacement_vox
from medconv.transforms.augment_intensity import (
    add_noise,
    blur,
    change_contrast,
    change_gamma,
    change_gamma_inverted,
    lower_resolution,
    multiply,
)
from medconv.transforms.augment_settings import AugmentSettings
from medconv.transforms.transfer import move_together


class Augment:
    """Change image and label of a training batch as nnU-Net does, reproducibly and on the device.

    Elastic deformation, noise, blur, brightness, contrast, loss of resolution, inverted gamma, gamma, mirrors: in this
    order;
    rotation and zoom come before, where the patch is sampled (``sample_patches``). Each change touches only the
    rows it was drawn for; all others keep every bit.
    A sample's fate is a function of its key: neither its place in the batch, nor workers, nor devices, nor a
    resumed run alter it (noise differs between kinds of device, the rest only by rounding).

    Args:
        spatial_dims: 2 or 3.
        settings: Probabilities and ranges.

    Shape:
        - ``image`` ``(B, C, *S)``, any floating dtype; ``label`` ``(B, 1, *S)``, any integer dtype;
          ``keys`` ``(B,)`` int64, best left on the CPU (elsewhere reading them waits for the device).
        - Outputs: image float32, label in its dtype; the inputs are left as they are.

    Raises:
        ConfigError: Other dimensions, or a mirror axis that does not fit them.
        ShapeError: At call time: shapes that do not belong together.

    Cost:
        On average ten passes over the batch; one transfer of some hundred bytes to the device, and no wait for it.

    Example:
        >>> augment = Augment(3)
        >>> image, label = torch.rand(2, 1, 16, 16, 8), torch.ones(2, 1, 16, 16, 8, dtype=torch.uint8)
        >>> changed, moved = augment(image, label, torch.tensor([5, 6]))
        >>> changed.shape == image.shape, moved.dtype
        (True, torch.uint8)

    Source:
        Isensee et al., nnU-Net, Nature Methods 2021; ranges of version 2.
    """

    def __init__(self, spatial_dims: int, settings: AugmentSettings | None = None) -> None:
        self.spatial_dims = check_spatial_dims(spatial_dims)
        self.settings = settings or AugmentSettings()
        # int(4σ + ½), as scipy cuts its Gaussian
        radius = int(4 * self.settings.blur_sigma_vox.high + 0.5)
        self._change: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
            "blur_sigma_vox": partial(blur, radius=radius),
            "brightness": multiply,
            "contrast": change_contrast,
            "resolution": lower_resolution,
            "gamma_inverted": change_gamma_inverted,
            "gamma": change_gamma,
        }

    @torch.no_grad()
    def __call__(self, image: Tensor, label: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Change a batch; see the class for shapes."""
        self._check(image, label, keys)
        host_keys = keys.cpu().numpy()
        picks = draw_picks(self.settings, host_keys, image.shape[1:])
        moved = _on_device(picks, image.device)
        with torch.autocast(image.device.type, enabled=False):
            # fresh contiguous copies: from here on everything may happen in place
            image = image.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
            label = label.clone(memory_format=torch.contiguous_format)
            if "elastic_vox" in moved:
                rows, coefficients = moved["elastic_vox"]
                field = displacement_vox(coefficients, image.shape[2:], self.settings.elastic_grid_vox)
                image[rows], label[rows] = deform(image[rows], label[rows], field)
            self._change_intensity(image, host_keys, picks, moved)
            for axis in range(image.dim() - 2):
                if f"mirror_{axis}" in moved:
                    rows, _ = moved[f"mirror_{axis}"]
                    image[rows], label[rows] = image[rows].flip(axis + 2), label[rows].flip(axis + 2)
        return image, label

    def _change_intensity(
        self, image: Tensor, keys: Int64Array, picks: dict[str, Pick], moved: dict[str, tuple[Tensor, Tensor]]
    ) -> None:
        channels = image.flatten(0, 1)  # shares memory with the image
        for name in INTENSITY_CHANGES:
            if name not in moved:
                continue
            rows, strength = moved[name]
            if name == "noise_std":
                seeds = noise_seeds(keys, image.shape[1], picks[name].rows)
                channels[rows] = add_noise(channels[rows], strength, seeds)
            else:
                channels[rows] = self._change[name](channels[rows], strength)

    def _check(self, image: Tensor, label: Tensor, keys: Tensor) -> None:
        batch, dims = image.shape[0], self.spatial_dims
        if image.dim() != dims + 2 or label.shape != (batch, 1, *image.shape[2:]) or keys.shape != (batch,):
            raise ShapeError(
                f"expected image (B, C, *S) with {dims} spatial axes, label (B, 1, *S) and keys (B,); "
                f"got {tuple(image.shape)}, {tuple(label.shape)} and {tuple(keys.shape)}"
            )
        if label.is_floating_point() or keys.is_floating_point():
            raise ShapeError(f"expected integer label and keys, got {label.dtype} and {keys.dtype}")


def _on_device(picks: dict[str, Pick], device: torch.device) -> dict[str, tuple[Tensor, Tensor]]:
    arrays = {
        (name, part): getattr(pick, part) for name, pick in picks.items() for part in ("rows", "strength")
    }
    moved = move_together(arrays, device)
    return {name: (moved[name, "rows"], moved[name, "strength"]) for name in picks}
