"""From the name of a symmetry to the group, if the grid of an operator can have it."""

from __future__ import annotations

from medconv.errors import ConfigError
from medconv.ops.base import ConvOp
from medconv.ops.symmetry import SymmetryGroup, named_group


def choose_group(
    name: str, axis: int | None, allowed: SymmetryGroup, conv: ConvOp, remedy: str
) -> SymmetryGroup:
    """The named group, if it fits into what the grid allows.

    Args:
        name: Schoenflies symbol.
        axis: Its special axis in 3-D; ``None``: the one that differs from the other two, else 0.
        allowed: What spacing, kernel, stride and dilation of ``conv`` allow.
        conv: The operator, for its geometry.
        remedy: End of the message.

    Raises:
        ConfigError: No such group, or one that exchanges unequal axes.
    """
    dims = conv.spatial_dims
    if axis is None:
        axis = next((a for a in range(dims) if dims == 3 and named_group("D4h", 3, a) <= allowed), 0)
    wanted = named_group(name, dims, axis)
    if not wanted <= allowed:
        raise ConfigError(
            f"group {name!r} ({wanted.order} elements) exchanges axes that differ: "
            f"spacing_mm {conv.spacing_mm}, kernel_size {conv.kernel_size}, stride {conv.stride} and "
            f"dilation {conv.dilation} allow at most {allowed.name!r} ({allowed.order}); {remedy}"
        )
    return wanted
