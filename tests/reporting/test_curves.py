from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from medconv.errors import DatasetError
from medconv.reporting import draw_curves

CSV = """epoch,step,train/loss,val/dice,val/dice_head,val/hd95_mm,lr
0,9,2.5,,,,0.1
0,9,,0.5,0.6,12,
1,19,1.5,,,,0.1
,,9,9,9,9,9
2,29,1.0,0.8,0.9,4.0,0.1
"""


def test_every_kind_has_a_panel_and_every_column_a_curve(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text(CSV)
    picture = draw_curves(tmp_path / "metrics.csv", tmp_path / "curves.png", title="run $1$")
    loss, dice, hd95 = picture.axes
    assert [ax.get_ylabel() for ax in picture.axes] == ["loss", "Dice", "HD95 / mm"]
    assert [line.get_label() for line in dice.lines] == ["val/dice", "val/dice_head"]
    np.testing.assert_array_equal(loss.lines[0].get_xydata(), [[0, 2.5], [1, 1.5], [2, 1.0]])
    np.testing.assert_array_equal(hd95.lines[0].get_xydata(), [[0, 12], [2, 4]])
    assert imread(tmp_path / "curves.png").shape[2] == 4


def test_distances_of_cells_are_drawn_in_micrometres() -> None:
    rows = [{"epoch": "0", "val/dice": "0.5", "val/hd95_mm": "0.0012"}]
    dice, hd95 = draw_curves(rows, unit="µm").axes
    assert (dice.get_ylabel(), hd95.get_ylabel()) == ("Dice", "HD95 / µm")
    assert dice.lines[0].get_ydata() == [0.5]
    np.testing.assert_allclose(hd95.lines[0].get_ydata(), [1.2])


def test_a_run_that_logged_nothing_is_refused() -> None:
    with pytest.raises(DatasetError, match="has the run logged anything yet"):
        draw_curves([{"epoch": "0", "lr": "0.1", "train/loss": ""}])
