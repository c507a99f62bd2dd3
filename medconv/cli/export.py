"""`medconv export`: a checkpoint for other tools, compared with the network before it is kept."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from medconv.cli.parser import add_plugin_option, command_parser, parse, plugins
from medconv.cli.paths import require_file, require_output_folder
from medconv.errors import ConfigError

_DESCRIPTION = """\
Write a checkpoint for other tools, with a model card and a report of how exactly each file answers.

  medconv export runs/unet_sym/best.ckpt --to onnx -o exported
  medconv export runs/unet_sym/best.ckpt --to torch bundle safetensors -o exported --licence "CC BY 4.0"

targets:
  torch        a torch.export program, model.pt2
  onnx         ONNX, checked in ONNX Runtime (pip install 'medconv[export]')
  bundle       a MONAI bundle, which runs with MONAI's command and in MONAI Label
  safetensors  weights and a JSON specification
"""


def main(argv: Sequence[str]) -> int:
    """Export and tell how exact it is. Returns the exit code."""
    parser = command_parser("export", _DESCRIPTION)
    add = parser.add_argument
    add("checkpoint", help=".ckpt of medconv fit")
    add("--to", nargs="+", action="extend", required=True, help="torch, onnx, bundle, safetensors; several")
    add("-o", "--output", type=str, required=True, help="a folder that does not exist yet")
    add("--tolerance", type=float, default=1e-3, help="what a logit may differ by")
    add("--name", type=str, default=None, help="of the model, in its card; default: the run's folder")
    add("--licence", type=str, default="", help="of the weights, in the card")
    add("--authors", type=str, default="", help="of the model, in the card")
    add("--overwrite", action="store_true", help="replace an earlier export")
    add_plugin_option(parser)
    try:
        options = parse(parser, argv[1:])
    except ConfigError as error:
        if "required: checkpoint" not in str(error):
            raise
        raise ConfigError(
            "expected a checkpoint, got none. --to takes every word up to the next option, so put the checkpoint "
            "first: medconv export CHECKPOINT --to onnx -o FOLDER"
        ) from error
    checkpoint = require_file(options.checkpoint, "checkpoint")
    require_output_folder(Path(options.output).parent)
    from medconv.export import Statement, export_checkpoint  # seconds: torch

    name = options.name or checkpoint.resolve().parent.name
    exported = export_checkpoint(
        checkpoint,
        options.to,
        options.output,
        tolerance=options.tolerance,
        statement=Statement(name, options.licence, options.authors),
        allow=plugins(options),
        overwrite=options.overwrite,
    )
    for parity in exported.parities:
        print(parity)
    if exported.freedom is not None:
        print(f"inputs       {exported.freedom}")
    if not exported.is_within:
        stays = exported.report.parent != exported.folder
        kept = "the earlier export stays, see {}" if stays else "nothing but {} was kept"
        print(f"medconv export: outside the tolerance; {kept.format(exported.report)}", file=sys.stderr)
        return 1
    for name in exported.files:
        print(f"  {exported.folder / name}")
    return 0
