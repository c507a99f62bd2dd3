"""Attention layers: they weigh a feature map ``(B, C, *S)`` and give back the same shape.

An ``Attention`` stands inside a block and sees one map; a ``SkipAttention`` stands on a skip connection and sees
the decoder's map too.
"""

from medconv.attention.attention_gate import AttentionGate
from medconv.attention.base import (
    Attention,
    AttentionFactory,
    SkipAttention,
    SkipAttentionFactory,
    attention_catalogue,
    skip_attention_catalogue,
)
from medconv.attention.cbam import CBAM
from medconv.attention.channel import ChannelAttention
from medconv.attention.scse import SCSE
from medconv.attention.self_attention import SelfAttention
from medconv.attention.shrinkage import ChannelShrinkage
from medconv.attention.spatial import SpatialAttention

__all__ = [
    "CBAM",
    "SCSE",
    "Attention",
    "AttentionFactory",
    "AttentionGate",
    "ChannelAttention",
    "ChannelShrinkage",
    "SelfAttention",
    "SkipAttention",
    "SkipAttentionFactory",
    "SpatialAttention",
    "attention_catalogue",
    "skip_attention_catalogue",
]
