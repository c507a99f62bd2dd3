from __future__ import annotations

from pathlib import Path

import pytest

from medconv.ops import (
    ConvOp,
    DynamicConv,
    SeparableConv,
    StandardConv,
    SymmetricConv,
    conv_catalogue,
    markdown_table,
    summarise,
)

PAGE = Path(__file__).parents[2] / "docs" / "operators.md"
SHIPPED = {n: kind for n, kind in conv_catalogue().items() if kind.__module__.startswith("medconv.")}


def test_the_page_is_what_the_code_says() -> None:
    remedy = "run 'python -m medconv list ops --markdown > docs/operators.md'"
    assert PAGE.read_text(encoding="utf-8") == markdown_table(SHIPPED), remedy


@pytest.mark.parametrize("kind", SHIPPED.values(), ids=SHIPPED)
def test_every_operator_states_its_prior_and_its_source(kind: type[ConvOp]) -> None:
    row = summarise(kind)
    assert row.prior.endswith((".", ";")), row.prior
    assert row.source, "no 'Source:' in the docstring of the class or its module"
    assert row.parameters > 0
    assert row.macs > 0


def test_figures_are_relative_to_the_plain_convolution() -> None:
    plain = summarise(StandardConv)
    assert (plain.parameters, plain.macs, plain.foldable, plain.symmetry) == (1, 1, "yes", "-")
    tied = summarise(SymmetricConv)
    assert tied.parameters == pytest.approx((4 * 32 * 32 + 32) / (27 * 32 * 32 + 32))
    assert tied.symmetry == "Oh"
    separable = summarise(SeparableConv)
    assert separable.macs == pytest.approx((27 + 32) / (27 * 32))
    assert separable.foldable == "dearer"
    assert summarise(DynamicConv).foldable == "no"
