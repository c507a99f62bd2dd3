"""The catalogue as a table, read from the code: what each operator assumes, what it costs, what it keeps."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medconv.ops.base import ConvOp
from medconv.ops.standard import StandardConv

CHANNELS, SIZE = 32, 16
"""The geometry of the figures: 32 to 32 channels, kernel 3, an image of 16 voxels an axis, isotropic."""

HEAD = ("operator", "prior", "parameters", "multiply-adds", "foldable", "symmetry", "source")


@dataclass(frozen=True)
class OperatorSummary:
    """One operator with its default character, in 3-D.

    Args:
        name: Its class.
        prior: What it assumes about images: the first line of its docstring.
        parameters: Trained numbers relative to ``StandardConv``.
        macs: Multiply-adds relative to ``StandardConv``.
        foldable: ``"yes"``; ``"no"``; ``"dearer"``: it can be folded, but the plain convolution costs more.
        symmetry: Rotations and reflections it commutes with for all weights, as a Schoenflies symbol; ``"-"``:
            none.
        source: Where it was published.
    """

    name: str
    prior: str
    parameters: float
    macs: float
    foldable: str
    symmetry: str
    source: str

    @property
    def cells(self) -> tuple[str, ...]:
        """The row as words, in the order of ``HEAD``."""
        figures = f"{self.parameters:.2f}", f"{self.macs:.2f}"
        return (self.name, self.prior, *figures, self.foldable, self.symmetry, self.source)


def summarise(kind: type[ConvOp]) -> OperatorSummary:
    """What the table says about an operator.

    Args:
        kind: Its class.

    Example:
        >>> from medconv.ops import SymmetricConv
        >>> row = summarise(SymmetricConv)
        >>> round(row.parameters, 3), row.macs, row.foldable, row.symmetry
        (0.149, 1.0, 'yes', 'Oh')
    """
    op, plain = kind(3, CHANNELS, CHANNELS), StandardConv(3, CHANNELS, CHANNELS)
    size, group = (SIZE,) * 3, op.symmetry()
    folds = ("yes" if op.is_worth_folding else "dearer") if op.is_foldable else "no"
    return OperatorSummary(
        kind.__name__,
        (inspect.getdoc(kind) or "").split("\n", maxsplit=1)[0],
        _trained(op) / _trained(plain),
        op.macs(size) / plain.macs(size),
        folds,
        "-" if group is None else group.name,
        _source(kind),
    )


def markdown_table(kinds: Mapping[str, type[ConvOp]]) -> str:
    """The page ``docs/operators.md``.

    Args:
        kinds: The operators by name.
    """
    rows: list[Sequence[str]] = [HEAD, ["---"] * len(HEAD), *(summarise(k).cells for k in kinds.values())]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([_PREFACE, *lines, ""])


def _trained(op: ConvOp) -> int:
    return sum(p.numel() for p in op.parameters() if p.requires_grad)


def _source(kind: type[ConvOp]) -> str:
    """The paragraph that begins with ``Source:``, of the class or else of its module."""
    for text in (inspect.getdoc(kind), inspect.getdoc(sys.modules[kind.__module__])):
        found = re.search(r"^Source:\s*(.+?)(?:\n\s*\n|\Z)", text or "", re.MULTILINE | re.DOTALL)
        if found:
            return " ".join(found[1].split()).rstrip(".")
    return ""


_PREFACE = f"""\
# The operators

Generated from the code by `python -m medconv list ops --markdown > docs/operators.md`; do not edit.

Each operator with its default character, relative to `StandardConv`: 3-D, {CHANNELS} to {CHANNELS} channels, kernel 3,
isotropic voxels, an image of {SIZE}³. Parameters and multiply-adds are counts, not times. *Foldable*: `yes`, deployment
runs the plain convolution that it equals; `dearer`, it equals one that costs more and is left as it is; `no`, it
depends on its input. *Symmetry*: the rotations and reflections with which it commutes whatever its weights.
"""
