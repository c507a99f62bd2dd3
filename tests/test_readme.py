"""README.md and CONTRIBUTING.md are followed to the letter, in a folder as `make demo` leaves it.

Every fenced ``bash`` line is run, every ``python`` block executed, every ``yaml`` block built; only trainings
are shortened. A line that this file does not know how to run is a failure.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from PIL import Image

from medconv.cli.main import COMMANDS
from medconv.datamodules.demo_cells import draw_cells
from medconv.training import build_task

ROOT = Path(__file__).parents[1]
SHORT_FIT = ["--config=debug", "--data.init_args.steps_per_epoch=2", "--data.init_args.batch_size=2"]
SMALL_PATCH = "--data.init_args.patch_size=[64,64]"
INSTALLING = [["git", "clone"], ["cd"], ["pip", "install", "-e", "."], ["pip", "install", "medconv"]]


class Block(NamedTuple):
    place: str
    language: str
    text: str


def blocks(name: str, text: str) -> list[Block]:
    """The fenced blocks of a page, with the line on which each begins."""
    found = re.finditer(r"^```(\w+)\n(.*?)^```$", text, flags=re.M | re.S)
    return [Block(f"{name}:{text.count(chr(10), 0, m.start()) + 1}", m[1], m[2]) for m in found]


def commands(block: Block) -> list[list[str]]:
    """The commands of a bash block as words, without comments."""
    lines = block.text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


BLOCKS = [
    block for name in ("README.md", "CONTRIBUTING.md") for block in blocks(name, (ROOT / name).read_text())
]
BASH = [(block.place, words) for block in BLOCKS if block.language == "bash" for words in commands(block)]


def run(words: list[str], cwd: Path) -> None:
    """Run one command of a page; trainings are shortened, installing is left to ``make``."""
    match [words[0].removeprefix(".venv/bin/"), *words[1:]]:
        case ["make", *targets]:
            _call(["make", "--dry-run", *targets], ROOT)
        case ["medconv", *rest] | ["python", "-m", "medconv", *rest]:
            short = SHORT_FIT if rest[0] == "fit" else []
            small = [SMALL_PATCH] if short and "nuclei" in rest else []  # its images are small too
            _call([sys.executable, "-m", "medconv", *rest, *short, *small], cwd)
        case ["python", "-m", "pytest", *rest]:
            _call([sys.executable, "-m", "pytest", "--collect-only", "--quiet", *rest], ROOT)
        case known if any(known[: len(start)] == start for start in INSTALLING):
            return
        case _:
            pytest.fail(f"nobody knows how to test '{shlex.join(words)}'; teach tests/test_readme.py")


def _call(words: list[str], cwd: Path) -> None:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"'{shlex.join(words)}' fails:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"


@pytest.fixture(scope="module")
def newcomer(demo_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as ``make demo`` leaves it, with what README speaks of: scans, and a dataset of one's own."""
    folder = tmp_path_factory.mktemp("newcomer") / "medconv"
    shutil.copytree(demo_run, folder)
    demo = folder / "data/demo"
    (folder / "scans").mkdir()
    for scan in sorted((demo / "imagesTs").glob("*.nii.gz"))[:2]:
        shutil.copy(scan, folder / "scans")
    own = folder / "Task04_Hippocampus"
    shutil.copytree(demo, own, ignore=shutil.ignore_patterns("cache", "demo.json", "imagesTs", "labelsTs"))
    description = json.loads((own / "dataset.json").read_text())
    description |= {"training": description["training"][:10], "test": []}
    (own / "dataset.json").write_text(json.dumps(description))
    _save_nuclei(folder / "nuclei")
    return folder


def _save_nuclei(root: Path) -> None:
    """Ten small pictures of cells with numbered masks, as PNG of unknown pixel size."""
    for number in range(10):
        cells = draw_cells(0, number)
        for folder, values in (("images", cells.image), ("labels", cells.label)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(values[:96, :96]).save(root / folder / f"nuclei_{number}.png")


@pytest.mark.slow
def test_every_command_works_one_after_the_other(newcomer: Path) -> None:
    for _, words in BASH:
        run(words, newcomer)


@pytest.mark.slow
def test_every_python_block_runs_one_after_the_other(newcomer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(newcomer)
    namespace: dict[str, Any] = {}
    for block in BLOCKS:
        if block.language == "python":
            exec(compile(block.text, block.place, "exec"), namespace)


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "yaml"], ids=lambda block: block.place)
def test_every_yaml_block_builds_a_network(block: Block) -> None:
    config = merged(yaml.safe_load((ROOT / "configs/unet_sym.yaml").read_text()), yaml.safe_load(block.text))
    settings = config["model"]["network"]["init_args"]
    if isinstance(settings["conv"], list):
        settings["channels"] = settings["channels"][: len(settings["conv"])]
    build_task(config)


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """``base`` with the values of ``over``, mapping by mapping."""
    inner = {
        k: merged(base[k], v)
        for k, v in over.items()
        if isinstance(v, dict) and isinstance(base.get(k), dict)
    }
    return base | over | inner


def test_the_readme_lists_every_command() -> None:
    listed = re.search(r"All commands: `([^`]+)`", (ROOT / "README.md").read_text())
    assert listed is not None
    assert listed[1].split() == list(COMMANDS)


def test_the_readme_opens_with_the_two_commands() -> None:
    first = next(block for block in BLOCKS if block.place.startswith("README.md"))
    assert commands(first) == [["make", "demo"], ["make", "test"]]


@pytest.mark.parametrize("page", sorted(path.name for path in ROOT.glob("*.md")))
def test_every_link_to_a_file_leads_somewhere(page: str) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / page).read_text())
    assert not [target for target in targets if not (ROOT / target).exists()]


# ---------------------------------------------------------------- these tests see what they should see


def test_blocks_are_found_with_their_line() -> None:
    page = "# Title\n\n```bash\nmake demo  # two words\n```\n\n```\nnot code\n```\n"
    assert blocks("A.md", page) == [Block("A.md:3", "bash", "make demo  # two words\n")]
    assert commands(blocks("A.md", page)[0]) == [["make", "demo"]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("make nonsense", "No rule to make target"),
        ("medconv predicct -i a -o b", "did you mean 'predict'"),
        ("curl example.org", "nobody knows how to test 'curl example.org'"),
    ],
)
def test_a_line_that_does_not_work_fails(line: str, message: str, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception), match=message):
        run(shlex.split(line), tmp_path)
