"""Several networks that answer as one."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import torch
from torch import Tensor

from medconv.errors import ConfigError
from medconv.planning import Plan
from medconv.transforms import Rows


def mean_rows(members: Sequence[Rows], *, exclusive: bool = True) -> Rows:
    """Rows of the scores of an ensemble, from those of its members ``(K, n, *S)``; see ``LogMeanProbability``."""

    def rows(start: int, stop: int) -> Tensor:
        mean = LogMeanProbability(exclusive=exclusive)
        for member in members:
            mean.add(member(start, stop)[None])
        return mean.result()[0]

    return members[0] if len(members) == 1 else rows


class LogMeanProbability:
    r"""The logarithm of the mean softmax probability of several networks, one network's scores at a time.

    .. math:: s_k = \log \frac1M \sum_m \mathrm{softmax}(z^{(m)})_k

    Kept as a logarithm, one network more changes nothing in how scores are interpolated: a shift that all
    classes of a voxel share never moves an argmax, so a network beside its own copy decides as it does alone.
    Regions, which may overlap, keep the logit of their mean sigmoid probability.

    Args:
        exclusive: Whether the scores are of classes that exclude each other, not of regions.

    Shape:
        - Input of ``add`` ``(B, K, *S)``, logits.
        - Output of ``result``: the same; the logits themselves for a single network.

    Example:
        >>> mean = LogMeanProbability()
        >>> mean.add(torch.tensor([[0.0, 0.0]]))
        >>> mean.add(torch.tensor([[100.0, 0.0]]))
        >>> mean.result().exp()
        tensor([[0.7500, 0.2500]])
    """

    def __init__(self, *, exclusive: bool = True) -> None:
        self._exclusive = exclusive
        self._scores: Tensor | None = None
        self._against: Tensor | None = None
        self._count = 0

    def add(self, logits: Tensor) -> None:
        """Count one network's logits in."""
        self._count += 1
        if self._scores is None:
            self._scores = logits
            return
        if self._count == 2:
            self._scores, self._against = self._logarithms(self._scores)
        more, against = self._logarithms(logits)
        self._scores = torch.logaddexp(self._scores, more)
        if self._against is not None and against is not None:
            self._against = torch.logaddexp(self._against, against)

    def result(self) -> Tensor:
        """The scores so far.

        Raises:
            ConfigError: None were added.
        """
        if self._scores is None:
            raise ConfigError("expected the scores of at least one network, got none")
        if self._count == 1:
            return self._scores
        return self._scores - (log(self._count) if self._against is None else self._against)

    def _logarithms(self, logits: Tensor) -> tuple[Tensor, Tensor | None]:
        if self._exclusive:
            return torch.log_softmax(logits, dim=1), None
        return torch.nn.functional.logsigmoid(logits), torch.nn.functional.logsigmoid(-logits)


def agreed_plan(plans: Sequence[Plan]) -> Plan:
    """The one preparation that all networks of an ensemble were trained with.

    Raises:
        ConfigError: There is no plan, or two differ in anything but the patch size; with both values.
    """
    if not plans:
        raise ConfigError("expected at least one checkpoint, got none")
    first = plans[0].to_dict()
    for number, plan in enumerate(plans[1:], start=2):
        other = plan.to_dict()
        for key in first | other:
            if key != "patch_size" and other.get(key) != first.get(key):
                raise ConfigError(
                    f"checkpoints 1 and {number} differ in {key}: {first.get(key)} and {other.get(key)}; an ensemble "
                    "needs networks trained on one plan, so predict with each alone"
                )
    return plans[0]
