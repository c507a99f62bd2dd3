"""Several networks that answer as one."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import torch
from torch import Tensor

from medconv.errors import ConfigError
from medconv.planning import Plan


class LogMeanProbability:
    r"""The logarithm of the mean softmax probability of several networks, one network's scores at a time.

    .. math:: s_k = \log \frac1M \sum_m \mathrm{softmax}(z^{(m)})_k

    Kept as a logarithm, one network more changes nothing in how scores are interpolated: a shift that all
    classes of a voxel share never moves an argmax, so a network beside its own copy decides as it does alone.

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

    def __init__(self) -> None:
        self._scores: Tensor | None = None
        self._count = 0

    def add(self, logits: Tensor) -> None:
        """Count one network's logits in."""
        self._count += 1
        if self._scores is None:
            self._scores = logits
            return
        if self._count == 2:
            self._scores = torch.log_softmax(self._scores, dim=1)
        self._scores = torch.logaddexp(self._scores, torch.log_softmax(logits, dim=1))

    def result(self) -> Tensor:
        """The scores so far.

        Raises:
            ConfigError: None were added.
        """
        if self._scores is None:
            raise ConfigError("expected the scores of at least one network, got none")
        return self._scores if self._count == 1 else self._scores - log(self._count)


def agreed_plan(plans: Sequence[Plan]) -> Plan:
    """The one preparation that all networks of an ensemble were trained with.

    Raises:
        ConfigError: There is no plan, or two differ in anything but the patch size; with both values.
    """
    if not plans:
        raise ConfigError("expected at least one checkpoint, got none")
    first = plans[0].to_dict()
    for number, plan in enumerate(plans[1:], start=2):
        for key, value in plan.to_dict().items():
            if key != "patch_size" and value != first[key]:
                raise ConfigError(
                    f"checkpoints 1 and {number} differ in {key}: {first[key]} and {value}; an ensemble "
                    "needs networks trained on one plan, so predict with each alone"
                )
    return plans[0]
