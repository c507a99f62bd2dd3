"""What a training says on the screen, and what it keeps to itself."""

from __future__ import annotations

import logging
import sys
import warnings

log = logging.getLogger("medconv")


def speak_plainly() -> None:
    """Our own words to stdout; Lightning's advertisements and advice to nobody."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.handlers = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for noise in (
        ".*does not have many workers.*",
        ".*LeafSpec.* is deprecated",
        "Experiment logs directory .* exists and is not empty",
        "Checkpoint directory .* exists and is not empty",
        ".*smaller than the logging interval",
        # validate and test need none of those that trained
        "Be aware that when using `ckpt_path`, callbacks used to create the checkpoint",
        # what is logged at the end of an epoch is computed from all ranks' rows and equal everywhere
        ".*recommended to use `self.log.*sync_dist=True",
    ):
        warnings.filterwarnings("ignore", message=noise)
