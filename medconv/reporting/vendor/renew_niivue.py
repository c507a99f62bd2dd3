"""Renews the vendored NiiVue: ``python medconv/reporting/vendor/renew_niivue.py``, then the tests of the viewer.

It asks npm for the one package and version that ``niivue.json`` pins, refuses anything whose integrity is not the
pinned one, and keeps the published file as it is (packed by gzip) beside the licences of everything inside it.
For another version: write its number and npm's ``dist.integrity`` into ``niivue.json`` first.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PIN, SCRIPT, LICENCES = HERE / "niivue.json", HERE / "niivue.umd.js.gz", HERE / "niivue.licences.txt"

_NIIVUE_LICENCE = """\
BSD 2-Clause License

Copyright (c) 2021, Niivue
All rights reserved.

Redistribution and use in source and binary forms, with or without
modification, are permitted provided that the following conditions are met:

1. Redistributions of source code must retain the above copyright notice, this
   list of conditions and the following disclaimer.

2. Redistributions in binary form must reproduce the above copyright notice,
   this list of conditions and the following disclaimer in the documentation
   and/or other materials provided with the distribution.

THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS"
AND ANY EXPRESS OR IMPLIED WARRANTIES, INCLUDING, BUT NOT LIMITED TO, THE
IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE
DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR CONTRIBUTORS BE LIABLE
FOR ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL
DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR
SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER
CAUSED AND ON ANY THEORY OF LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY,
OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE
OF THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.
"""
"""The published package carries no licence file; this is the one of its repository."""


def renew() -> None:
    """Fetch the pinned package through npm, as npm is configured here, and rewrite what is vendored.

    Raises:
        SystemExit: There is no npm, or the package is not the pinned one.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit("expected npm, which fetches the package; install Node.js")
    pin = json.loads(PIN.read_text())
    with tempfile.TemporaryDirectory() as folder:
        words = [
            npm,
            "install",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--silent",
            "--prefix",
            folder,
        ]
        subprocess.run([*words, f"{pin['package']}@{pin['version']}"], check=True)  # noqa: S603
        modules = Path(folder) / "node_modules"
        _require_pinned(json.loads((Path(folder) / "package-lock.json").read_text()), pin)
        script = (modules / pin["package"] / pin["file"]).read_bytes()
        licences = _licences(modules, pin["package"])
    # without a time stamp, so that the same package gives the same file
    SCRIPT.write_bytes(gzip.compress(script, compresslevel=9, mtime=0))
    LICENCES.write_text(licences)
    pin["sha256"] = hashlib.sha256(script).hexdigest()
    PIN.write_text(json.dumps(pin, indent=2) + "\n")


def _require_pinned(lock: dict[str, Any], pin: dict[str, str]) -> None:
    got = lock["packages"][f"node_modules/{pin['package']}"]["integrity"]
    if got != pin["integrity"]:
        raise SystemExit(
            f"expected {pin['package']} {pin['version']} with integrity {pin['integrity']}, got {got}; "
            "nothing was changed"
        )


def _licences(modules: Path, package: str) -> str:
    """The licence of the package and of all that is built into it."""
    parts = [f"{package}\n\n{_NIIVUE_LICENCE}"]
    for file in sorted(modules.rglob("package.json")):
        name = file.parent.relative_to(modules).as_posix()
        texts = [path for path in sorted(file.parent.iterdir()) if path.name.lower().startswith("licen")]
        if texts and "@rollup" not in name:
            version = json.loads(file.read_text()).get("version", "")
            parts.append(f"{name} {version}\n\n{texts[0].read_text().strip()}\n")
    return ("\n" + "-" * 80 + "\n\n").join(parts)


if __name__ == "__main__":
    renew()
