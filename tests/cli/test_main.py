from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType

import pytest

import medconv
from medconv.cli.main import COMMANDS, main
from medconv.errors import BadImageError, ConfigError, UnknownNameError

HEAVY = ("torch", "numpy", "lightning", "monai", "nibabel", "scipy")
SPY = """
import json, resource, sys
from medconv.cli.main import main
code = main(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_SELF)
loaded = [name for name in {heavy} if name in sys.modules]
print(json.dumps([code, loaded, used.ru_utime + used.ru_stime]), file=sys.stderr)
"""


def spy(*words: str) -> tuple[int, list[str], float]:
    """Exit code, heavy libraries imported, and processor seconds of a command in its own process."""
    command = [sys.executable, "-c", SPY.format(heavy=HEAVY), *words]
    out = subprocess.run(command, capture_output=True, text=True, check=True)
    code, loaded, seconds = json.loads(out.stderr.splitlines()[-1])
    return code, loaded, seconds


@pytest.mark.parametrize(
    ("words", "limit_s"),
    [
        (("--help",), 0.3),
        (("--version",), 0.3),
        (("predict", "--help"), 0.5),
        (("view", "--help"), 0.5),
        (("export", "--help"), 0.5),
        (("evaluate", "--help"), 0.5),
        (("tune-postprocessing", "--help"), 0.5),
        (("compare-tables", "--help"), 0.5),
        (("robustness", "--help"), 0.5),
        (("info", "--help"), 0.5),
        (("plan", "--help"), 0.5),
        (("check", "--help"), 0.5),
        (("data", "--help"), 0.5),
        (("data", "get", "--help"), 0.5),
        (("data", "list"), 0.5),
        (("list", "--help"), 0.5),
        (("list", "configs"), 0.5),
        (("fit", "--help"), 1.0),
    ],
)
def test_help_is_there_at_once_and_imports_nothing_heavy(words: tuple[str, ...], limit_s: float) -> None:
    code, loaded, seconds = spy(*words)
    assert (code, loaded) == (0, [])
    assert seconds < limit_s


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown and what in shown for name, (_, what) in COMMANDS.items())


def test_no_command_shows_the_help_and_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "commands:" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"medconv {medconv.__version__}\n"


def test_a_misspelt_command_is_recognised(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predct", "-i", "x"]) == 2
    seen = capsys.readouterr()
    assert seen.out == ""
    assert seen.err == (
        "medconv: no command 'predct'; did you mean 'predict'? "
        f"Commands: {', '.join(COMMANDS)}; see medconv --help\n"
    )


def test_python_dash_m_and_the_console_script_are_the_same() -> None:
    module = subprocess.run(
        [sys.executable, "-m", "medconv", "--help"], capture_output=True, text=True, check=True
    )
    code = "import sys; from importlib.metadata import entry_points as e; sys.argv[1:] = ['--help'];"
    code += "(script,) = e(group='console_scripts', name='medconv'); sys.exit(script.load()())"
    script = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert module.stdout == script.stdout
    assert module.stdout.startswith("usage: medconv COMMAND")


def fake(monkeypatch: pytest.MonkeyPatch, run: Callable[[list[str]], int]) -> None:
    module = ModuleType("fake_command")
    module.main = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fake_command", module)
    monkeypatch.setitem(COMMANDS, "fake", ("fake_command:main", "a command for this test"))


def test_a_command_gets_its_own_name_and_its_code_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def run(words: list[str]) -> int:
        seen.append(words)
        return 7

    fake(monkeypatch, run)
    assert main(["fake", "--x", "1"]) == 7
    assert seen == [["fake", "--x", "1"]]


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (
            BadImageError("scan.nii: truncated; copy it again"),
            1,
            "medconv fake: scan.nii: truncated; copy it again\n",
        ),
        (ConfigError("no such option"), 2, "medconv fake: no such option\n"),
        (UnknownNameError("no operator 'x'"), 2, "medconv fake: no operator 'x'\n"),
        (
            PermissionError(13, "Permission denied", "/shared/plan.yaml"),
            1,
            "medconv fake: /shared/plan.yaml: Permission denied; see that you may read and write there and that the "
            "disk has room, or name another file\n",
        ),
        (
            OSError(28, "No space left on device", "/shared/plan.yaml"),
            1,
            "medconv fake: /shared/plan.yaml: No space left on device; see that you may read and write there and "
            "that the disk has room, or name another file\n",
        ),
        (KeyboardInterrupt(), 130, "medconv fake: interrupted\n"),
        (SystemExit(5), 5, ""),
        (SystemExit(), 0, ""),
        (SystemExit("text"), 1, ""),
    ],
)
def test_expected_ends_have_a_code_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    text: str,
) -> None:
    def run(words: list[str]) -> int:
        raise error

    fake(monkeypatch, run)
    assert main(["fake"]) == code
    assert capsys.readouterr().err == text


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(words: list[str]) -> int:
        raise ZeroDivisionError("a bug")

    fake(monkeypatch, run)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        main(["fake"])


def test_a_reader_that_has_gone_is_no_fault() -> None:
    code = (
        "import sys; sys.argv[1:] = ['list', 'configs']; from medconv.cli.main import main; sys.exit(main())"
    )
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stderr is not None
    writer.stdout.close()
    complaint = writer.stderr.read().decode()
    writer.stderr.close()
    assert writer.wait() == 1
    assert complaint == ""


def test_a_name_that_the_terminal_cannot_show_does_not_end_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "argv", ["medconv", "--version"])
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii", write_through=True))
    assert main() == 0
    print("M\udcfcller", "Müller")  # a byte that is no UTF-8, and a letter that ASCII lacks
    assert written.getvalue().splitlines()[-1] == rb"M\udcfcller M\xfcller"
