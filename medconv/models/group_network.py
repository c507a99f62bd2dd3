"""A network over a group is equivariant only as a whole: lifted once, and of one group everywhere."""

from __future__ import annotations

from torch import nn

from medconv.errors import ConfigError
from medconv.ops import ConvOp, GroupConv, LiftingConv


def common_orientations(stem: nn.Module | None, encoder: nn.Module, decoder: nn.Module) -> int:
    """Channels to a field in a network; 1 where it has no fields.

    Args:
        stem: What comes before the encoder.
        encoder: The way down.
        decoder: The way up.

    Raises:
        ConfigError: Operators with fields beside others, different groups, or no lifting in the stem.
    """
    first = [m for m in (stem.modules() if stem else ()) if isinstance(m, ConvOp)]
    others = [m for side in (encoder, decoder) for m in side.modules() if isinstance(m, ConvOp)]
    with_fields = [m for m in first + others if m.orientations > 1]
    if not with_fields:
        return 1
    if not any(isinstance(m, LiftingConv) for m in first):
        raise ConfigError(
            "expected stem LiftingConv in a network of GroupConv: the channels of an image are no orientations"
        )
    wrong = sorted({type(m).__name__ for m in others if not isinstance(m, GroupConv)})
    if wrong:
        raise ConfigError(
            f"expected GroupConv at all stages of encoder and decoder, between which fields go; got {', '.join(wrong)}"
        )
    groups = {m.group for m in with_fields if isinstance(m, GroupConv | LiftingConv)}
    if len(groups) > 1:
        names = sorted(group.name for group in groups)
        raise ConfigError(f"expected one group in the whole network, got {', '.join(names)}")
    return with_fields[0].orientations
