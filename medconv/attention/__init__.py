"""Attention layers: they weigh a feature map ``(B, C, *S)`` and give back the same shape."""

from medconv.attention.base import Attention, AttentionFactory, attention_catalogue, full_precision
from medconv.attention.channel import ChannelAttention

__all__ = ["Attention", "AttentionFactory", "ChannelAttention", "attention_catalogue", "full_precision"]
