"""`medconv fit`, `validate` and `test`: parse, build, run, and tell what came out."""

from __future__ import annotations

import sys
from collections.abc import Sequence

_HELP = """\
usage: medconv {command} {usage}

{title}

common options:
  --config NAME|FILE            a shipped configuration (medconv list configs) or a YAML file; repeat to merge,
                                the last one wins; options on the command line win over all files
{options}\
  --data.init_args.root FOLDER  the dataset: Medical Segmentation Decathlon, nnU-Net raw layout, or a CSV file
  --trainer.accelerator cpu|gpu, --trainer.devices N (several GPUs: --config ddp)
  --plugin PACKAGE              allow classes of this package in configurations and checkpoints
  --print_config                print the merged configuration and stop
  --help-all                    every option of the model, the data and the trainer

examples:
  {example}
"""

_FIT_OPTIONS = """\
  --name NAME                   the run is written to runs/NAME (default: the name of the first configuration)
  --runs FOLDER                 where runs are kept (default: runs)
  --resume never|auto|FILE      auto: continue from the last whole checkpoint of the run, if there is one
  --fold K                      validate on fold K of 5 (of num_folds, or of --data.init_args.splits FILE);
                                the run is written to runs/NAME/fold_K
  --init-from CHECKPOINT        begin with the weights of a trained network, also one of other operators
  --preview-augmentation PNG    draw augmented samples and stop
  --model.network.init_args.conv NAME          operator of every stage (medconv list ops)
  --model.network.init_args.conv.basis ring    an option of that operator
  --model.lr 1e-3               peak learning rate
  --model.ema_decay 0.999       average the weights; the average is measured and saved
  --model.loss NAME             medconv list losses
  --data.init_args.batch_size N, .patch_size [A,B,C], .fold N, .num_workers N
  --trainer.max_epochs N, --trainer.max_time 00:00:15:00, --trainer.precision bf16-mixed
  --config wandb                also log to Weights & Biases (WANDB_MODE=offline needs no account)
"""

_MEASURE_OPTIONS = """\
  --model.mirror true|false     average over mirrored copies
  --model.overlap 0.5           share by which sliding-window tiles overlap
"""

_WORDS = {
    "fit": (
        "--config NAME|FILE [options]",
        "Train a network, keep the checkpoint that validates best, measure it in millimetres on whole cases.",
        "medconv fit --config unet_sym\n"
        "  medconv fit --config hippocampus_sym --data.init_args.root Task04_Hippocampus",
    ),
    "validate": (
        "CHECKPOINT [options]",
        "Measure a checkpoint on the validation cases of the data it was trained with.",
        "medconv validate runs/unet_sym/best.ckpt",
    ),
    "test": (
        "CHECKPOINT [options]",
        "Measure a checkpoint on the test cases of its dataset (the validation cases where it has none).",
        "medconv test runs/unet_sym/best.ckpt --model.mirror true",
    ),
}


def main(argv: Sequence[str]) -> int:
    """Run one of the commands; ``argv[0]`` is its name. Returns the exit code."""
    command, *options = argv
    if not options or set(options) & {"-h", "--help"}:
        sys.stdout.write(short_help(command))
        return 0 if options else 2
    from medconv.cli.lightning_cli import run_command  # lightning takes seconds to import

    return run_command(command, ["--help" if option == "--help-all" else option for option in options])


def short_help(command: str) -> str:
    """The help that is shown at once; ``--help-all`` asks Lightning for the rest."""
    usage, title, example = _WORDS[command]
    options = _FIT_OPTIONS if command == "fit" else _MEASURE_OPTIONS
    return _HELP.format(command=command, usage=usage, title=title, example=example, options=options)
