"""The networks of `medconv predict` as its options ask for them."""

from __future__ import annotations

from typing import Any

from jsonargparse import Namespace

from medconv.cli.parser import plugins


def predictor_settings(options: Namespace, **changes: Any) -> dict[str, Any]:
    """Arguments of ``Predictor.from_checkpoint`` beside the files; plain enough to be sent to another process.

    Args:
        options: Of the command, parsed.
        changes: Arguments that are not as the options say.
    """
    from medconv.inference import Postprocessing

    rules = options.postprocessing
    return {
        "device": options.device,
        "overlap": options.overlap,
        "tile_batch": options.tile_batch,
        "mirror": options.mirror,
        "rotate": options.rotate,
        "blend": options.blend,
        "precision": options.precision,
        "memory_gb": options.memory_gb,
        "postprocessing": Postprocessing.load(rules) if rules else None,
        "cuda_graph": {"auto": "auto", "true": True, "false": False}[options.cuda_graph],
        "allow": plugins(options),
        **changes,
    }
