from __future__ import annotations

import pytest

from medconv.planning import NORMALIZATIONS, kind_of_channel


@pytest.mark.parametrize(
    ("name", "kind", "is_known"),
    [
        ("CT", "ct", True),
        ("ct scan", "ct", True),
        ("CT_portal", "ct", True),
        ("MRI", "zscore", True),
        ("T1", "zscore", True),
        ("t1gd", "zscore", True),
        ("FLAIR", "zscore", True),
        ("PET", "zscore", True),
        ("noNorm", "none", True),
        ("DAPI", "range", True),
        ("fluorescence microscopy", "range", True),
        ("ssTEM", "percentile", True),
        ("infarct", "zscore", False),
        ("structural", "zscore", False),
        ("image", "zscore", False),
        ("", "zscore", False),
    ],
)
def test_normalisation_follows_whole_words_of_the_name(name: str, kind: str, is_known: bool) -> None:
    found = kind_of_channel(name)
    assert (found.normalization, found.is_known) == (kind, is_known)
    assert kind in NORMALIZATIONS


def test_an_unknown_channel_is_named_in_the_reason() -> None:
    assert kind_of_channel("image_0").reason.startswith(
        "'image_0' names no known kind (CT, MRI, microscopy …)"
    )
