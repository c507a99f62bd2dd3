"""The rules of the house, read from its source: storeys, doors, names, sizes, no folder of one machine."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STOREYS = [
    {"types", "errors", "lengths"},
    {"kernels", "ndim", "catalogue", "host_memory", "processors"},
    {"ops", "losses", "metrics"},
    {"attention", "io"},
    {"blocks", "planning"},
    {"models", "transforms"},
    {"inference", "datamodules", "evaluation"},
    {"training"},
    {"export", "reporting", "study"},
    {"cli"},
    {"__main__"},
]
STOREY = {room: height for height, rooms in enumerate(STOREYS) for room in rooms}
WORDS = {"types", "errors", "lengths", "ndim", "catalogue"}  # free for everyone, each other included
TENSORS = {"ops", "attention", "blocks", "models", "losses"}
FILES = {"io", "planning", "transforms", "datamodules"}
DOORS = {  # foreign library: where it may be imported
    "nibabel": ("io",),
    "pydicom": ("io",),
    "highdicom": ("io",),
    "roifile": ("io",),
    "SimpleITK": ("io",),
    "tifffile": ("io",),
    "zarr": ("io",),
    "PIL": ("io",),
    "skimage": ("inference", "metrics"),
    "matplotlib": ("reporting",),
    "lightning": ("datamodules", "training", "cli"),
    "pytorch_lightning": (),
    "torchmetrics": ("metrics", "training"),
    "triton": ("kernels",),
    "ray": ("cli/predict_ray",),
    "monai": ("models/baselines", "transforms", "datamodules", "inference", "losses", "export"),
}
NO_ROOM = {"utils", "util", "utilities", "helpers", "helper", "common", "misc", "core"}
MAX_MODULE_LINES, MAX_FUNCTION_LINES = 300, 60
MACHINE_PATH = re.compile(r"(?<![\w.~$}])/(?:work|root|home|opt|tmp|farm)/\w")


def offences(package: Path) -> list[str]:
    """Every place in a package folder that breaks a rule, as ``file:line: what``."""
    found = []
    for path in sorted(package.rglob("*.py")):
        text = path.read_text()
        where = path.relative_to(package)
        tree = ast.parse(text)
        rows = [*_names(where), *_sizes(text, tree), *_imports(where, tree)]
        found += [f"{package.name}/{where}:{line}: {what}" for line, what in dict.fromkeys(rows)]
    return found


def _names(where: Path) -> Iterator[tuple[int, str]]:
    for name in (*where.parent.parts, where.stem):
        if name in NO_ROOM:
            yield 1, f"'{name}' says nothing about what is inside; name the thing"
    if where.as_posix() != "__init__.py" and _room(where) not in STOREY:
        yield (
            1,
            f"room '{_room(where)}' has no storey; give it one in tests/test_architecture.py",
        )


def _sizes(text: str, tree: ast.AST) -> Iterator[tuple[int, str]]:
    if (lines := len(text.splitlines())) > MAX_MODULE_LINES:
        yield 1, f"module of {lines} lines, at most {MAX_MODULE_LINES}: split it by idea"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MAX_FUNCTION_LINES:
                yield node.lineno, f"{node.name} has {lines} lines, at most {MAX_FUNCTION_LINES}"


def _imports(where: Path, tree: ast.AST) -> Iterator[tuple[int, str]]:
    room = _room(where)
    for line, name in _imported(where, tree):
        top, _, rest = name.partition(".")
        if top == "medconv":
            yield from ((line, what) for what in _storey_offence(room, rest.split(".")[0]))
        elif top in DOORS and not any(where.as_posix().startswith(door) for door in DOORS[top]):
            yield line, f"{top} is imported only in: {', '.join(DOORS[top]) or 'nowhere'}"
    if room != "cli":
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for line, name in _imported(where, function):
                    yield line, f"{name} is imported inside {function.name}; only commands may import late"


def _imported(where: Path, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Dotted names that a tree imports: ``medconv.ops`` for ``from medconv import ops``, dots resolved."""
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                yield from ((node.lineno, alias.name) for alias in node.names)
            case ast.ImportFrom():
                above = ("medconv", *where.parent.parts)[: 1 + len(where.parent.parts) - node.level + 1]
                module = ".".join((*(above if node.level else ()), *filter(None, [node.module])))
                names = [f"medconv.{a.name}" for a in node.names] if module == "medconv" else [module]
                yield from ((node.lineno, name) for name in names)
            case ast.Call(
                func=ast.Name("import_module") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(str(name)), *_],
            ):
                yield node.lineno, name


def _storey_offence(room: str, other: str) -> Iterator[str]:
    if room == "__init__" or other in {room, "__version__"} or other in WORDS:
        return
    if other not in STOREY:
        yield f"medconv.{other} is no room; import a name from the room where it lives"
    elif STOREY[other] >= STOREY.get(room, 0):
        yield f"{room} (storey {STOREY.get(room)}) imports {other} (storey {STOREY[other]}): not below it"
    elif (room in TENSORS and other in FILES) or (room in FILES and other in TENSORS):
        yield f"{room} and {other} are in different towers: tensors there, files here"


def _room(where: Path) -> str:
    return where.parts[0] if len(where.parts) > 1 else where.stem


def machine_paths(files: list[Path]) -> list[str]:
    """Lines of text files that name an absolute folder of somebody's machine."""
    found = []
    for path in files:
        lines = path.read_bytes().decode(errors="ignore").splitlines()
        found += [f"{path}:{n}: {line:.80}" for n, line in enumerate(lines, 1) if MACHINE_PATH.search(line)]
    return found


# ---------------------------------------------------------------- the house


def test_the_house_keeps_its_rules() -> None:
    assert not offences(ROOT / "medconv")


def test_no_file_names_a_folder_of_one_machine() -> None:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    files = [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    assert len(files) > 20
    assert not machine_paths(files)


def test_importing_medconv_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'lightning', 'monai', 'numpy', 'nibabel'}"
    code = f"import sys, medconv, medconv.cli.main; print(sorted({heavy} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


# ---------------------------------------------------------------- these tests see what they should see


LAZY = "def f():\n    from medconv.{} import x"
TYPES_ONLY = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from medconv.cli import main"


@pytest.mark.parametrize(
    ("file", "source", "what"),
    [
        (
            "ops/a.py",
            "x = 1\nfrom medconv.models import UNet",
            "a.py:2: ops (storey 2) imports models (storey 5)",
        ),
        ("ops/a.py", "from medconv import models", "ops (storey 2) imports models"),
        ("ops/a.py", "import medconv.losses.dice", "ops (storey 2) imports losses (storey 2)"),
        ("ops/deep/a.py", "from ...blocks.plain import x", "ops (storey 2) imports blocks"),
        ("ops/a.py", "from .. import attention", "ops (storey 2) imports attention"),
        (
            "ops/a.py",
            "import importlib\nimportlib.import_module('medconv.cli.main')",
            "a.py:2: ops (storey 2)",
        ),
        ("ops/a.py", TYPES_ONLY, "a.py:3: ops (storey 2) imports cli"),
        ("models/a.py", "from medconv.io import read_volume", "models and io are in different towers"),
        (
            "datamodules/a.py",
            "from medconv.models import UNet",
            "datamodules and models are in different towers",
        ),
        ("training/a.py", "from medconv import UNet", "medconv.UNet is no room"),
        ("training/a.py", LAZY.format("models"), "a.py:2: medconv.models is imported inside f"),
        ("metrics/a.py", "import nibabel as nib", "nibabel is imported only in: io"),
        ("models/unet.py", "from monai.networks import x", "monai is imported only in: models/baselines"),
        ("training/a.py", "import pytorch_lightning", "pytorch_lightning is imported only in: nowhere"),
        ("ops/utils.py", "", "'utils' says nothing"),
        ("common/a.py", "", "'common' says nothing"),
        ("engine/a.py", "", "room 'engine' has no storey"),
        ("ops/a.py", "x = 1\n" * 301, "module of 301 lines, at most 300"),
        ("ops/a.py", "\ndef f():\n" + "    x = 1\n" * 60, "a.py:2: f has 61 lines, at most 60"),
    ],
)
def test_an_offence_is_named(tmp_path: Path, file: str, source: str, what: str) -> None:
    assert any(what in line for line in _offences_of(tmp_path, file, source))


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("io/a.py", "import nibabel\nfrom medconv.metrics import dice\nfrom .geometry import reorient"),
        ("models/baselines.py", "import monai\nfrom medconv.ops import StandardConv"),
        ("catalogue.py", "from medconv.errors import ConfigError"),
        ("cli/fit.py", LAZY.format("training") + "\nfrom medconv import __version__"),
        ("__main__.py", "from medconv.cli.main import main"),
        ("ops/a.py", "x = 1\n" * 300),
    ],
)
def test_what_is_allowed_passes(tmp_path: Path, file: str, source: str) -> None:
    assert _offences_of(tmp_path, file, source) == []


def _offences_of(folder: Path, file: str, source: str) -> list[str]:
    path = folder / "medconv" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    return offences(folder / "medconv")


@pytest.mark.parametrize("folder", ["work", "root", "home", "opt", "tmp"])
def test_a_machine_path_is_named(tmp_path: Path, folder: str) -> None:
    note = tmp_path / "note.md"
    note.write_text(f"https://example.org/{folder}/x, ~/{folder}/x, a/{folder}/x\nread /{folder}/data now\n")
    assert machine_paths([note]) == [f"{note}:2: read /{folder}/data now"]
