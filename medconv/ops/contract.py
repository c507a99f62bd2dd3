"""The public examination of a convolution operator, shipped or third-party."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from inspect import getdoc
from typing import Literal

from medconv.errors import ConfigError
from medconv.ops import laws
from medconv.ops.base import ConvFactory
from medconv.ops.probe import NotApplicableError, Probe, probes


@dataclass
class Report:
    """What an examination found; printing it gives one line a law.

    Args:
        operator: Name of the operator.
        held: Laws that hold, each with the geometries in which it was tried.
        not_applicable: Laws that say nothing about this operator anywhere, each with the reason.
        refused: Geometries that the operator refuses, each with its reason.
    """

    operator: str
    held: dict[str, list[str]] = field(default_factory=dict)
    not_applicable: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{self.operator}: {len(self.held)} laws hold"]
        lines += [f"  holds  {law} ({len(where)} geometries)" for law, where in self.held.items()]
        lines += [f"  n/a    {law} ({reason})" for law, reason in self.not_applicable.items()]
        lines += [f"  refuses {where}: {reason}" for where, reason in self.refused.items()]
        return "\n".join(lines)


def check_conv(
    factory: ConvFactory,
    dims: Sequence[int] = (2, 3),
    *,
    backend: Literal["aot_eager", "inductor"] | None = "aot_eager",
    device: str = "cpu",
) -> Report:
    """Examine an operator by all laws of the contract; for authors of operators, in their own tests.

    Args:
        factory: The operator's class, or a ``partial`` that sets its character.
        dims: Spatial dimensions to try.
        backend: Compiler for the law about ``torch.compile``. ``"aot_eager"`` traces forwards and backwards
            and needs no C compiler; ``"inductor"`` also generates code (slow); ``None`` leaves the law out.
        device: Where the laws are tried.

    Returns:
        Which laws hold, which do not apply and which geometries the operator refuses (by ``ConfigError``).

    Raises:
        AssertionError: A law is broken; the text names the operator, the law, the geometry and the numbers.

    Cost:
        Seconds; ``"inductor"`` half a minute.

    Example:
        >>> from medconv.ops import StandardConv
        >>> report = check_conv(StandardConv, dims=(2,), backend=None)
        >>> report.held["Every parameter is saved, once and under its own name."]
        ['2-D, plain geometry']
    """
    report = Report(_name_of(factory))
    for spatial_dims in dims:
        plain, *others = probes(factory, spatial_dims, device)
        once = [*laws.IN_EVERY_GEOMETRY, *laws.IN_PLAIN_GEOMETRY]
        _examine(report, plain, once if backend is None else [*once, _compiled_by(backend)])
        for probe in others:
            try:
                probe.build()
            except ConfigError as reason:
                report.refused[str(probe)] = str(reason)
                continue
            _examine(report, probe, laws.IN_EVERY_GEOMETRY)
    report.not_applicable = {k: v for k, v in report.not_applicable.items() if k not in report.held}
    return report


def _examine(report: Report, probe: Probe, statutes: Sequence[laws.Law]) -> None:
    for law in statutes:
        name = _title(law)
        try:
            law(probe)
        except NotApplicableError as reason:
            report.not_applicable[name] = str(reason)
        except Exception as error:
            kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
            raise AssertionError(
                f"{report.operator} breaks the law: {name} In {probe}: {kind}{error}"
            ) from error
        else:
            report.held.setdefault(name, []).append(str(probe))


def _compiled_by(backend: str) -> laws.Law:
    return partial(laws.compiles, backend=backend)


def _title(law: laws.Law) -> str:
    function = law.func if isinstance(law, partial) else law
    return (getdoc(function) or "").splitlines()[0]


def _name_of(factory: ConvFactory) -> str:
    if isinstance(factory, partial):
        settings = ", ".join(f"{key}={value!r}" for key, value in factory.keywords.items())
        return f"{_name_of(factory.func)}({settings})"
    return getattr(factory, "__name__", repr(factory))
