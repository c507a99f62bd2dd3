"""The contract of every loss: ``(logits, target) -> one number``, in float32."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from medconv.errors import ShapeError
from medconv.losses.functional import pick_class


class Loss(nn.Module, ABC):
    r"""Base of the losses: checks the shapes and takes the log-softmax in float32, once for all parts.

    .. math:: \ell_k(p) = z_k(p) - \log \sum_j e^{z_j(p)}

    Shape:
        - ``logits`` ``(B, K, *S)``, any floating type, ``K >= 2`` (background is class 0).
        - ``target`` ``(B, 1, *S)``, any integer type, values ``0 … K - 1``.
        - Output: a scalar, float32 (float64 for float64 logits).

    Raises:
        ShapeError: Logits and target do not belong together, or (checked on the CPU only, where it costs no
            synchronisation) a label is not below ``K``.
    """

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of these logits, as a scalar."""
        _check(logits, target)
        # half precision overflows in the sums over voxels, so it ends here, inside autocast too
        log_probs = torch.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=1)
        labels = target.long()
        return self.of_log_probs(log_probs, pick_class(log_probs, labels), labels)

    @abstractmethod
    def of_log_probs(self, log_probs: Tensor, true_log_probs: Tensor, target: Tensor) -> Tensor:
        """The loss of log-probabilities; override this one.

        Args:
            log_probs: ``(B, K, *S)``, float32 or float64.
            true_log_probs: ``(B, 1, *S)``, those of each voxel's own class.
            target: ``(B, 1, *S)``, int64.
        """


def _check(logits: Tensor, target: Tensor) -> None:
    if logits.dim() < 3 or target.shape != (logits.shape[0], 1, *logits.shape[2:]):
        raise ShapeError(
            "expected logits (B, K, *S) and target (B, 1, *S), "
            f"got {tuple(logits.shape)} and {tuple(target.shape)}"
        )
    if logits.shape[1] < 2:
        raise ShapeError(
            "expected at least 2 classes (background is class 0), got 1 channel of logits; "
            "a binary task has num_classes=2"
        )
    if target.is_floating_point():
        raise ShapeError(f"expected integer labels, got {target.dtype}; convert the target with .long()")
    if target.device.type == "cpu" and not torch.compiler.is_compiling():
        low, high = (int(v) for v in target.aminmax())
        if low < 0 or high >= logits.shape[1]:
            raise ShapeError(
                f"expected labels 0 … {logits.shape[1] - 1} (the network has {logits.shape[1]} classes), "
                f"got {low} … {high}; check the label names of the dataset"
            )
