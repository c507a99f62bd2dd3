from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tiny_checkpoint import save_checkpoint

from medconv import __version__
from medconv.inference import CaseResult, Postprocessing, Predictor, Rule
from medconv.inference.run_record import run_record, sha256_of
from medconv.inference.statistics import Structure


def test_a_record_is_json_and_tells_every_case(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / "best.ckpt")
    structure = Structure(1, "head", 8, 0.5, (1.0,), (1.0, 2.0, 3.0), True, 0.75)
    results = [
        CaseResult("a", "ok", 1.5, "far spacing", tmp_path / "a.nii", {"read": 0.25}, (structure,)),
        CaseResult("b", "failed", 0.1, "damaged", tmp_path / "b.nii"),
    ]
    record = run_record(
        Predictor.from_checkpoint(path, device="cpu", mirror=True),
        [path],
        results,
        inputs={"a": (tmp_path / "a.mha",), "b": (tmp_path / "b.mha",), "c": (Path("0"), Path("1"))},
        words=["medconv", "predict"],
        started=datetime.now(UTC) - timedelta(seconds=90),
        status="interrupted",
    )
    assert json.loads(json.dumps(record)) == record
    assert record["counts"] == {"ok": 1, "skipped": 0, "failed": 1, "not_finished": 1}
    assert [(case["case"], case["status"]) for case in record["cases"]] == [
        ("a", "ok"),
        ("b", "failed"),
        ("c", "not_finished"),
    ]
    a, b, c = record["cases"]
    assert (a["seconds"], a["stages"], a["message"]) == (1.5, {"read": 0.25}, "far spacing")
    assert a["structures"][0]["mean_probability"] == 0.75
    assert (b["message"], c["inputs"]) == ("damaged", ["0", "1"])
    assert record["model"]["checkpoints"] == [
        {"file": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    ]
    assert record["model"]["labels"] == {"0": "background", "1": "head", "2": "tail"}
    assert record["settings"] == {
        "overlap": 0.5,
        "tile_batch": 4,
        "mirrored_axes": [0, 1, 2],
        "rotate": False,
        "turned_copies": [8],
        "blend": "gaussian",
        "memory_gb": None,
        "postprocessing": {},
    }
    assert record["versions"]["medconv"] == __version__
    assert {"python", "torch", "nibabel"} <= set(record["versions"])
    assert "cpu" in record["machine"]["device"]
    assert 90 <= record["seconds"] < 150


def test_a_record_tells_how_masks_were_made(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / "best.ckpt")
    predictor = Predictor.from_checkpoint(
        path,
        device="cpu",
        rotate=True,
        blend="crop",
        memory_gb=64.0,
        postprocessing=Postprocessing({2: Rule(fill_holes=True, min_volume_ml=0.5)}),
    )
    record = run_record(
        predictor, [path], [], inputs={}, words=[], started=datetime.now(UTC), status="finished"
    )
    assert json.loads(json.dumps(record)) == record
    settings = record["settings"]
    assert (settings["rotate"], settings["turned_copies"], settings["blend"]) == (True, [4], "crop")
    assert settings["memory_gb"] == 64.0
    assert settings["postprocessing"] == {
        "2": {"largest_component": False, "fill_holes": True, "min_volume_ml": 0.5}
    }


def test_large_files_are_hashed_in_pieces(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000
    (tmp_path / "x").write_bytes(content)
    assert sha256_of(tmp_path / "x") == hashlib.sha256(content).hexdigest()
