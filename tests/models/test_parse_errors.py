from __future__ import annotations

from argparse import ArgumentError

import pytest
from jsonargparse import ArgumentParser

from medconv.models import SegmentationModel
from medconv.models.parse_errors import explain_parse_error

OPTIONS = {"spatial_dims": 2, "in_channels": 1, "num_classes": 2}


def said(network: object, **more: object) -> str:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--network", type=SegmentationModel)
    parser.add_argument("--lr", type=float)
    with pytest.raises(ArgumentError, match=r"Parser key|not accepted") as caught:
        parser.parse_object({"network": network} | more)
    return explain_parse_error(caught.value, ["network", "lr"])


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("Unet", "network: Expected a dot import path string: Unet; did you mean 'UNet'?"),
        (
            {"class_path": "UNet", "init_args": OPTIONS | {"chanels": [2]}},
            "network: Option 'chanels' is not accepted; did you mean 'channels'?",
        ),
        (
            {"class_path": "UNet", "init_args": OPTIONS | {"conv": "SymetricConv"}},
            "network.conv: Expected a dot import path string: SymetricConv; did you mean 'SymmetricConv'?",
        ),
        (
            {"class_path": "UNet", "init_args": OPTIONS | {"upsample": "linea"}},
            "network.upsample: Expected a typing.Literal['linear', 'nearest', 'transpose']. "
            "Got value: linea; did you mean 'linear'?",
        ),
    ],
)
def test_the_place_the_complaint_and_the_nearest_name_are_left(network: object, message: str) -> None:
    assert said(network) == message


def test_an_option_of_an_operator_is_compared_with_its_own_options() -> None:
    conv = {"class_path": "medconv.ops.SymmetricConv", "init_args": {"basi": "ring"}}
    text = said({"class_path": "UNet", "init_args": OPTIONS | {"conv": conv}})
    assert text.startswith("network.conv: Option 'basi' is not accepted")
    assert "did you mean 'basis'?" in text


def test_an_option_at_the_top_is_compared_with_those_given() -> None:
    assert "did you mean 'lr'?" in said({"class_path": "UNet", "init_args": OPTIONS}, lrr=3)


def test_any_other_error_keeps_its_text() -> None:
    assert explain_parse_error(ValueError("what\never")) == "what; ever"
