import re

from medconv.io.label_files import itksnap_labels, read_label_files, slicer_colours, write_label_files

NAMES = {0: "background", 1: 'left "upper" lobe', 2: "heart\n", 17: " "}
ITKSNAP_LINE = re.compile(r'\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+([01])\s+([01])\s+([01])\s+"([^"\n]*)"')


def test_every_line_is_one_that_itksnap_reads():
    first, *lines = itksnap_labels(NAMES).splitlines()
    assert first == "# ITK-SnAP Label Description File"
    found = [ITKSNAP_LINE.fullmatch(line).groups() for line in lines if not line.startswith("#")]
    assert [(int(row[0]), row[-1].strip()) for row in found] == [
        (0, "Clear Label"),
        (1, "left 'upper' lobe"),
        (2, "heart"),
        (17, ""),
    ]
    assert found[0][1:7] == ("0",) * 6
    assert all(row[4:7] == ("1", "1", "1") for row in found[1:])
    colours = {row[1:4] for row in found}
    assert len(colours) == len(NAMES)
    assert all(0 <= int(part) <= 255 for colour in colours for part in colour)


def test_every_line_is_one_that_slicer_reads():
    first, count, *lines = slicer_colours(NAMES).splitlines()
    assert first.startswith("# Color table file")
    assert count == "# 4 values"
    rows = [line.split(" ") for line in lines]
    assert all(len(row) == 6 for row in rows)
    assert [row[:2] for row in rows] == [
        ["0", "background"],
        ["1", 'left_"upper"_lobe'],
        ["2", "heart"],
        ["17", "label_17"],
    ]
    assert [row[5] for row in rows] == ["0", "255", "255", "255"]
    itksnap = [ITKSNAP_LINE.fullmatch(line) for line in itksnap_labels(NAMES).splitlines()[2:]]
    assert [row[2:5] for row in rows] == [list(match.groups()[1:4]) for match in itksnap]


def test_files_of_somebody_else_stay(tmp_path):
    assert write_label_files(tmp_path / "masks", NAMES) == []
    assert write_label_files(tmp_path / "masks", NAMES) == []
    (tmp_path / "masks" / "labels.txt").write_text("my notes")
    assert write_label_files(tmp_path / "masks", {0: "background", 1: "x"}) == [
        tmp_path / "masks" / "labels.txt",
        tmp_path / "masks" / "labels.ctbl",
    ]
    assert (tmp_path / "masks" / "labels.txt").read_text() == "my notes"
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == ["labels.ctbl", "labels.txt"]


def test_what_was_written_is_read_again(tmp_path):
    names = {0: "background", 1: "left lung", 2: "heart", 17: "a 'b' c"}
    write_label_files(tmp_path, names)
    expected = {1: "left lung", 2: "heart", 17: "a 'b' c"}
    assert read_label_files(tmp_path) == (expected, tmp_path / "labels.txt")
    (tmp_path / "labels.txt").unlink()
    assert read_label_files(tmp_path) == (expected, tmp_path / "labels.ctbl")


def test_files_of_somebody_else_name_nothing(tmp_path):
    assert read_label_files(tmp_path) == ({}, None)
    (tmp_path / "labels.txt").write_bytes(b"1 liver\n2 spleen\n\xff\n")
    (tmp_path / "labels.ctbl").write_text("# Color table file\n3 spleen 1 2 3 255\n4 label_4 1 2 3 255\nx\n")
    assert read_label_files(tmp_path) == ({3: "spleen"}, tmp_path / "labels.ctbl")
    (tmp_path / "labels.ctbl").unlink()
    (tmp_path / "labels.ctbl").mkdir()
    assert read_label_files(tmp_path) == ({}, None)
