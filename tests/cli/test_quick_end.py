from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

START = "from medconv.cli.quick_end import with_quick_end; import sys; "
# Python tells at its own end, and only there, that this object goes
TELLTALE = """
import os
class Telltale:
    def __del__(self, write=os.write): write(1, b'taken apart\\n')
telltale = Telltale()
telltale.itself = telltale
"""


def run(program: str) -> tuple[int, list[str], str]:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout.splitlines(), done.stderr


def test_the_exit_code_and_what_was_written_arrive_and_nothing_is_taken_apart() -> None:
    program = (
        f"{TELLTALE}\n{START}\ndef command(): print('said'); print('erred', file=sys.stderr); return 3\n"
    )
    assert run(f"{program}sys.exit(with_quick_end(command))") == (3, ["said"], "erred\n")
    # the telltale does tell where a process ends in the usual way
    assert run(f"{program}sys.exit(command())") == (3, ["said", "taken apart"], "erred\n")


def test_threads_are_waited_for_and_functions_at_exit_are_called() -> None:
    program = f"""
{START}
def command():
    import atexit, threading, time
    from concurrent.futures import ThreadPoolExecutor
    atexit.register(print, "first")
    atexit.register(print, "last")
    threading.Thread(target=lambda: (time.sleep(0.3), print("thread"))).start()
    ThreadPoolExecutor(1).submit(lambda: (time.sleep(0.6), print("pool")))
    return 0
sys.exit(with_quick_end(command))
"""
    assert run(program) == (0, ["thread", "pool", "last", "first"], "")


def test_a_command_that_raises_ends_with_its_traceback() -> None:
    code, said, complaint = run(f"{TELLTALE}\n{START}\nwith_quick_end(lambda: 1 // 0)")
    assert (code, said) == (1, ["taken apart"])
    assert complaint.splitlines()[-1].startswith("ZeroDivisionError")


def test_who_was_there_before_is_not_forgotten() -> None:
    program = f"import atexit; atexit.register(print, 'earlier')\n{TELLTALE}\n{START}\n"
    assert run(f"{program}sys.exit(with_quick_end(lambda: 0))") == (0, ["earlier"], "")


def test_a_profile_is_written_to_its_end() -> None:
    program = f"{TELLTALE}\n{START}\nimport cProfile\nprofile = cProfile.Profile()\nprofile.enable()\n"
    program += "code = with_quick_end(lambda: 5)\nprofile.disable()\nprint(len(profile.getstats()) > 0)\nsys.exit(code)"
    assert run(program) == (5, ["True", "taken apart"], "")


def test_output_that_cannot_be_written_is_told_as_ever() -> None:
    program = f"{START}\ndef command(): print('x', end=''); return 0\nsys.exit(with_quick_end(command))"
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", program],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": ""},
        )
    assert done.returncode == 120
    assert "No space left on device" in done.stderr


def test_the_command_ends_so_but_a_training_does_not() -> None:
    program = """
import runpy, sys, medconv.cli.quick_end as module
module.with_quick_end = lambda command: 42
for word in ("list", "fit", "validate", "test"):
    sys.argv = ["medconv", word, "--help"]
    try:
        runpy.run_module("medconv", run_name="__main__")
    except SystemExit as stop:
        print(word, stop.code, file=sys.stderr)
"""
    _, _, told = run(program)
    assert told.splitlines() == ["list 42", "fit 0", "validate 0", "test 0"]
