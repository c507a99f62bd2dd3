"""A network as shapes only: what it would compute and keep, without memory."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from medconv.errors import ShapeError
from medconv.models.base import SegmentationModel


def shadow_of(model: SegmentationModel) -> SegmentationModel:
    """A copy that knows shapes only: its tensors have no values and take no memory."""
    memo: dict[int, Tensor] = {
        id(p): nn.Parameter(torch.empty_like(p, device="meta"), p.requires_grad) for p in model.parameters()
    }
    memo |= {id(b): torch.empty_like(b, device="meta") for b in model.buffers()}
    return deepcopy(model, memo)


def activation_bytes(model: SegmentationModel, input_shape: Sequence[int], batch_size: int = 1) -> int:
    """What a training step keeps between its forward and its backward pass, without weights; nothing is computed.

    Each piece of memory counts once, however many layers keep it. Not counted is what lives only while one layer
    works, such as the workspace of a convolution. For self-attention it is an upper bound: the products of all
    pairs are counted, which fused kernels do not keep. In half precision it is a little more than half.

    Args:
        model: Taken as in training, in the dtype that it has.
        input_shape: Spatial shape ``*S`` of one image.
        batch_size: Images in a step.

    Raises:
        ShapeError: ``input_shape`` has another number of axes than the network, or a size is below 1.

    Example:
        >>> from medconv.models import UNet
        >>> net = UNet(2, 1, 2, channels=(4, 8))
        >>> activation_bytes(net, (32, 32), batch_size=4) == 4 * activation_bytes(net, (32, 32))
        True
    """
    if len(input_shape) != model.spatial_dims:
        raise ShapeError(
            f"expected input_shape with {model.spatial_dims} entries, one a spatial axis, "
            f"got {tuple(input_shape)}"
        )
    if batch_size < 1 or any(size < 1 for size in input_shape):
        raise ShapeError(
            f"expected sizes of 1 or more, got input_shape {tuple(input_shape)} and batch_size {batch_size}"
        )
    shadow = shadow_of(model).train()
    own = {t.untyped_storage()._cdata for t in [*shadow.parameters(), *shadow.buffers()]}
    kept: dict[int, torch.UntypedStorage] = {}  # holds them, so that no address is used twice

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage
        return tensor

    dtype = next((p.dtype for p in model.parameters()), None)
    image = torch.empty(batch_size, model.in_channels, *input_shape, dtype=dtype, device="meta")
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        outputs = shadow(image)
    del outputs
    return sum(storage.nbytes() for storage in kept.values())
