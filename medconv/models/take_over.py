"""The weights of a trained network in a new one of other operators, and an account of what became of each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medconv.errors import ConfigError
from medconv.ops import ConvOp

_HEADS = "heads."


@dataclass(frozen=True)
class TakenOver:
    """What became of the weights of a network.

    Args:
        copied: Weights that are exactly those of the source, by name.
        projected: Kernels that the new operator can only have nearly, each with the share of it that is lost,
            ``‖new - old‖ / ‖old‖``.
        left: Weights of the new network that the source has nothing for: as they were drawn.
        unused: Weights of the source that the new network has no place for.
        numel: How many numbers each named weight has.
    """

    copied: tuple[str, ...]
    projected: dict[str, float]
    left: tuple[str, ...]
    unused: tuple[str, ...]
    numel: dict[str, int]

    def lines(self) -> list[str]:
        """The account in words."""
        text = [f"  copied exactly  {self._count(self.copied)}"]
        if self.projected:
            losses = sorted(self.projected.values())
            text.append(
                f"  projected       {self._count(tuple(self.projected))}; lost share of a kernel: median "
                f"{losses[len(losses) // 2]:.2f}, largest {losses[-1]:.2f}"
            )
            text += [f"    {name}  {lost:.3f}" for name, lost in self.projected.items()]
        for title, names in (("left at init", self.left), ("not used", self.unused)):
            if names:
                text += [f"  {title:14}  {self._count(names)}", *(f"    {name}" for name in names)]
        return text

    def _count(self, names: tuple[str, ...]) -> str:
        return f"{len(names)} weight(s), {sum(self.numel[name] for name in names):,} numbers"


@torch.no_grad()
def take_over(source: nn.Module, target: nn.Module) -> TakenOver:
    """Give a new network the weights of a trained one of the same plan, whatever operators both consist of.

    A weight of the same name and shape is copied. A kernel that the new operator holds in another form is handed to its
    ``load_dense``, which takes the nearest that it can have. What the new network has besides stays as it was drawn;
    so do heads of another number of classes.

    Args:
        source: The trained network; it is not changed.
        target: The new network; its weights are set.

    Raises:
        ConfigError: Weights of the same name that differ in shape, all of them listed; or nothing to take over.

    Example:
        >>> from medconv.models import UNet
        >>> from medconv.ops import SymmetricConv
        >>> plain = UNet(2, 1, 2, channels=(4, 8))
        >>> symmetric = UNet(2, 1, 2, channels=(4, 8), conv=SymmetricConv)
        >>> report = take_over(plain, symmetric)
        >>> len(report.projected), report.left
        (6, ())
    """
    old, layers = dict(source.named_modules()), dict(target.named_modules())
    given, new = source.state_dict(), target.state_dict()
    projections = _projections(old, layers)
    handled = {name for name in (*given, *new) if name.rpartition(".")[0] in projections}
    common = [name for name in new if name in given and name not in handled]
    wrong = [name for name in common if given[name].shape != new[name].shape]
    _refuse_misfits(wrong, given, new, projections)
    copied = [name for name in common if name not in wrong]
    for name in copied:
        new[name].copy_(given[name])
    _renew_masks(layers, set(copied))
    projected = {}
    for path, (dense, layer) in projections.items():
        projected[f"{path}.weight"] = _project(dense, layer)
        bias = getattr(old[path], "bias", None)
        if bias is not None and layer.bias is not None:
            layer.bias.copy_(bias)
            copied.append(f"{path}.bias")
    if not copied and not projected:
        raise ConfigError("the new network has no weight of the name of one of the trained network")
    exact = [name for name, lost in projected.items() if lost == 0]
    done = {*copied, *handled}
    return TakenOver(
        copied=(*copied, *exact),
        projected={name: lost for name, lost in projected.items() if lost > 0},
        left=tuple(name for name in new if name not in done),
        unused=tuple(name for name in given if name not in done),
        numel={name: value.numel() for name, value in (given | new).items()}
        | {f"{path}.weight": dense.numel() for path, (dense, _) in projections.items()},
    )


def _refuse_misfits(
    wrong: list[str],
    given: dict[str, Tensor],
    new: dict[str, Tensor],
    projections: dict[str, tuple[Tensor, ConvOp]],
) -> None:
    told = [(name, given[name].shape, new[name].shape) for name in wrong if not name.startswith(_HEADS)] + [
        (path, dense.shape, layer.weight_shape)
        for path, (dense, layer) in projections.items()
        if dense.shape != layer.weight_shape
    ]
    if told:
        raise ConfigError(
            "the weights do not fit the new network; make channels, kernel sizes and stages alike: "
            + "; ".join(f"{name} (trained {tuple(old)}, new {tuple(shape)})" for name, old, shape in told)
        )


def _renew_masks(layers: dict[str, nn.Module], copied: set[str]) -> None:
    """A mask that was chosen by drawn weights would cut the wrong ones of those that came."""
    for path, layer in layers.items():
        renew = getattr(layer, "update_mask", None)
        if renew is not None and f"{path}.weight" in copied and f"{path}.mask" not in copied:
            renew()


def _projections(old: dict[str, nn.Module], new: dict[str, nn.Module]) -> dict[str, tuple[Tensor, ConvOp]]:
    """Layers whose kernel changes its form: the plain kernel, and the operator that takes it."""
    found = {}
    for path, layer in new.items():
        before = old.get(path)
        if isinstance(layer, ConvOp) and isinstance(before, ConvOp) and type(layer) is not type(before):
            dense = before.dense_weight()
            if dense is not None and hasattr(layer, "load_dense"):
                found[path] = (dense, layer)
    return found


def _project(dense: Tensor, layer: ConvOp) -> float:
    take = getattr(layer, "load_dense")  # noqa: B009 - not every operator has it
    take(dense)
    kernel = layer.dense_weight()
    assert kernel is not None
    lost = float((kernel - dense).norm() / dense.norm().clamp_min(1e-12))
    return 0.0 if lost < 1e-6 else lost
