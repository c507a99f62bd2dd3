"""What processes that were killed left beside masks: hidden temporary files and claims, never half a mask."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from medconv.inference.companions import Companion
from medconv.io.atomic import temporaries_in
from medconv.io.claim import claim, has_claim


def remove_leftovers(outputs: Iterable[Path], companions: Sequence[Companion] = ()) -> list[Path]:
    """Remove temporary files and claims of masks that nobody is making now; those of other masks stay.

    Args:
        outputs: Files of the masks.
        companions: What is written beside each.

    Returns:
        The temporary files that are gone.
    """
    files = {
        output: [output, *(path for companion in companions for path in companion.files(output))]
        for output in outputs
    }
    temporaries: dict[Path, list[Path]] = defaultdict(list)
    for folder in {path.parent for paths in files.values() for path in paths}:
        for temporary, target in temporaries_in(folder):
            temporaries[target].append(temporary)
    removed = []
    for output, paths in files.items():
        left = [temporary for path in paths for temporary in temporaries[path]]
        if not left and not has_claim(output):
            continue
        with claim(output) as mine:  # which also removes what is left of a claim
            for temporary in left if mine else ():
                if temporary.is_dir():  # an OME-Zarr mask
                    shutil.rmtree(temporary, ignore_errors=True)
                else:
                    temporary.unlink(missing_ok=True)
                removed.append(temporary)
    return removed
