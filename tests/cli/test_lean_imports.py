from __future__ import annotations

import subprocess
import sys

import pytest

from medconv.cli.lean_imports import without


def test_what_is_loaded_stays() -> None:
    with without("json"):
        import json

        assert json.dumps(1) == "1"
    assert "json" in sys.modules


def test_afterwards_it_can_be_imported() -> None:
    name = "wave"
    sys.modules.pop(name, None)
    with without(name), pytest.raises(ImportError):
        import wave
    import wave

    assert wave.__name__ == name


def test_nibabel_keeps_the_bytes_of_an_extension_that_it_cannot_read() -> None:
    program = """
import sys
from medconv.cli.lean_imports import without
with without("pydicom"):
    import medconv.inference
assert "pydicom" not in sys.modules
from nibabel.nifti1 import Nifti1Image
import numpy as np
image = Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4))
from nibabel.nifti1 import Nifti1Extension
image.header.extensions.append(Nifti1Extension(2, b"as it was"))
again = Nifti1Image.from_bytes(image.to_bytes())
content = again.header.extensions[0].get_content()
assert getattr(content, "tobytes", lambda: content)().rstrip(b"\\0") == b"as it was", content
from pydicom import Dataset
from medconv.io.dicom import series
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
