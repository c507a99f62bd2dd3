from __future__ import annotations

from pathlib import Path

from medconv.inference.companions import Entropy, Place
from medconv.inference.leftovers import remove_leftovers
from medconv.io.atomic import atomic_path
from medconv.io.claim import claim


def killed_while_writing(target: Path) -> Path:
    """The temporary file of a writer that ended there."""
    with atomic_path(target) as temporary:
        name = temporary
        temporary.write_text("half")
    target.unlink()
    name.write_text("half")
    return name


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_temporaries_and_claims_of_killed_writers_go(tmp_path: Path) -> None:
    outputs = [tmp_path / "a.nii.gz", tmp_path / "b.v2.nii.gz", tmp_path / "c.nii"]
    left = [killed_while_writing(path) for path in outputs]
    (tmp_path / ".c.nii.lock").touch()
    outputs[0].write_text("whole")
    assert sorted(remove_leftovers(outputs)) == sorted(left)
    assert names(tmp_path) == {"a.nii.gz"}
    assert remove_leftovers(outputs) == []


def test_those_of_companions_go_with_their_mask(tmp_path: Path) -> None:
    companion = Entropy(Place(is_alone=False))
    output = tmp_path / "a.nii.gz"
    left = killed_while_writing(companion.files(output)[0])
    assert remove_leftovers([output]) == []
    assert remove_leftovers([output], [companion]) == [left]


def test_what_belongs_to_others_stays(tmp_path: Path) -> None:
    mine, theirs = tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"
    stays = {killed_while_writing(theirs).name, ".notes", ".a.tmp1.nii.gz"}
    for name in (".notes", ".a.tmp1.nii.gz"):
        (tmp_path / name).touch()
    with claim(mine):  # somebody is making it
        busy = killed_while_writing(mine).name
        assert remove_leftovers([mine]) == []
        assert names(tmp_path) == stays | {busy, ".a.nii.gz.lock"}
    assert [path.name for path in remove_leftovers([mine])] == [busy]
    assert names(tmp_path) == stays
    assert remove_leftovers([tmp_path / "nowhere/a.nii.gz"]) == []
