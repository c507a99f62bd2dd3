"""`medconv plan`: everything that a dataset decides, with reasons, in a file that `fit` reads."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jsonargparse import Namespace

from medconv.cli.dataset_rules import RULE_EXAMPLES, add_rule_options, with_rules
from medconv.cli.image_layout import LAYOUT_EXAMPLES, add_layout_options, layout_of
from medconv.cli.parser import add_plugin_option, command_parser, parse, plugins
from medconv.cli.paths import require_output_folder
from medconv.cli.progress import Progress
from medconv.errors import BadCasesError, ConfigError

if TYPE_CHECKING:
    from medconv.cli.operator_cost import OperatorMemory
    from medconv.io import Dataset
    from medconv.planning import Proposal, Wishes

_DESCRIPTION = """\
Look at a dataset and decide: spacing, normalisation, patch, batch, stages, kernels, steps, each with its reason.

  medconv plan Task04_Hippocampus -o plan.yaml
  medconv plan Task03_Liver -o plan.yaml --memory-gb 24 --config unet_sym
  medconv fit --config hippocampus_plain --data.init_args.root Task04_Hippocampus --data.init_args.plan plan.yaml

The rules are nnU-Net's. Without --config they count map voxels, as nnU-Net does; with it, the memory of its operators.
Where there is a GPU, the step is tried on it. The file may be edited; fit refuses it for another dataset.
"""

_MAX_THREADS = 8


def main(argv: Sequence[str]) -> int:
    """Parse, read, decide, try, write, tell. Returns the exit code."""
    options = _parse(argv[1:])
    for option, path in (("-o", options.output), ("--fit-config", options.fit_config)):
        _require_free(path, option, overwrite=options.overwrite)
    if options.fit_config and not options.output:
        raise ConfigError("--fit-config: expected -o too: the configuration names the plan file")
    if options.fit_config and options.config:
        from medconv.cli.planned_config import take_rules

        take_rules(options.config, options)
    from medconv.io import discover

    found = discover(options.dataset, layout=layout_of(options))
    from medconv.cli.operator_cost import PLAIN_NETWORK, OperatorMemory  # seconds: torch

    spec = _network_of(options.config) if options.config else PLAIN_NETWORK
    memory = OperatorMemory(spec, plugins(options))
    dataset = with_rules(found, options)
    bad_cases = dict[str, str]()
    proposal = _propose(dataset, options, memory if options.config else None, bad_cases)
    proposal = _with_memory(proposal, memory, options)
    if options.output:
        proposal.save(options.output)
        print("\n".join(_summary(proposal)))
        if options.fit_config:
            _write_fit_config(options, proposal, memory, dataset)
        print(f"\nwritten  {' '.join(filter(None, (options.output, options.fit_config)))}")
        print(f"next     {_next_command(options)}")
    else:
        print(proposal.to_yaml(), end="")
    for remark in _remarks(proposal):
        print(f"remark: {remark}", file=sys.stderr)
    for case_id, problem in sorted(bad_cases.items()):
        print(f"left out: case {case_id}: {problem}", file=sys.stderr)
    return int(bool(bad_cases))


def _propose(
    dataset: Dataset, options: Namespace, memory: OperatorMemory | None, bad_cases: dict[str, str]
) -> Proposal:
    from medconv.planning import propose

    threads = min(_MAX_THREADS, os.cpu_count() or 1)
    progress = Progress(len(dataset.cases), sys.stderr)
    noted = bad_cases if options.skip_bad_cases else None
    while True:
        try:
            return propose(
                dataset,
                _wishes(options),
                operator_cost=memory,
                watch=lambda cases: progress.over(cases, name=lambda one: one.case_id),
                threads=threads,
                bad_cases=noted,
            )
        except BadCasesError as error:
            kept = tuple(case for case in dataset.cases if case.case_id not in error.problems)
            if noted is None or not kept:
                raise
            noted.update(error.problems)
            dataset = replace(dataset, cases=kept)
        finally:
            progress.clear()


def _wishes(options: Namespace) -> Wishes:
    from medconv.planning import InstanceTarget, Wishes

    target = None if options.instances is None else InstanceTarget.from_dict(options.instances)
    return Wishes(
        orientation=options.orientation,
        spacing_mm=options.spacing_mm,
        patch_size=options.patch,
        batch_size=options.batch_size,
        normalization=options.normalization,
        memory_gb=options.memory_gb,
        resolution=options.resolution,
        instances=target,
    )


def _with_memory(proposal: Proposal, memory: OperatorMemory, options: Namespace) -> Proposal:
    """Say what a step takes, and halve the batch where it does not fit on the device."""
    import torch

    from medconv.training.step_memory import largest_fitting, peak_of_step

    plan, stages, batch = proposal.plan, proposal.network.stages, proposal.training.batch_size
    cost = memory(plan, stages)
    text = f"{proposal.reasons['training.batch_size']}; a step takes about {cost.of(batch) / 1e9:.1f} GB in bfloat16"
    wanted = options.device
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda: expected a GPU, PyTorch sees none; leave --device out")
    if wanted == "cuda" or (wanted == "auto" and torch.cuda.is_available()):
        device = torch.device("cuda")
        network = memory.build(plan, stages).float()
        found = largest_fitting(
            lambda size: peak_of_step(network, plan, size, device), batch, options.memory_gb * 1e9
        )
        text += (
            f" (estimated), {found.peak_bytes / 1e9:.1f} GB measured on {torch.cuda.get_device_name(device)}"
        )
        if found.tried:
            text += f", after {' and '.join(map(str, found.tried))} did not fit into {options.memory_gb:g} GB"
        batch = found.batch_size
    return replace(
        proposal,
        training=replace(proposal.training, batch_size=batch),
        reasons={**proposal.reasons, "training.batch_size": text},
    )


def _network_of(names: Sequence[str]) -> dict[str, object]:
    from medconv.cli.describe import read_network

    return read_network(names)


def _write_fit_config(
    options: Namespace, proposal: Proposal, memory: OperatorMemory, dataset: Dataset
) -> None:
    from medconv.cli.planned_config import planned_config
    from medconv.io import write_text

    module, recipe = ("NiftiDataModule", "hippocampus_plain")
    if dataset.is_microscopy:
        module, recipe = ("MicroscopyDataModule", "nuclei_plain")
    text = planned_config(options.config or [recipe], options, proposal, memory.spec, module)
    write_text(options.fit_config, text)


def _next_command(options: Namespace) -> str:
    if options.fit_config:
        return f"medconv fit --config {shlex.quote(options.fit_config)}"
    return (
        f"give your configuration --data.init_args.plan {shlex.quote(options.output)}, or add --fit-config fit.yaml "
        "here for one that medconv fit takes as it is"
    )


def _summary(proposal: Proposal) -> Iterator[str]:
    from medconv.lengths import edges_text

    plan, network, training = proposal.plan, proposal.network, proposal.training
    rows = {
        "plan.spacing_mm": edges_text(plan.spacing_mm, plan.unit),
        "plan.normalization": ", ".join(plan.normalization),
        "plan.patch_size": _by(plan.patch_size),
        "training.batch_size": str(training.batch_size),
        "network.strides": f"{len(network.channels)} stages",
        "network.channels": ", ".join(map(str, network.channels)),
        "training.epochs": f"{training.epochs:,} × {training.steps_per_epoch} steps",
    }
    yield f"{proposal.dataset.name}: {proposal.dataset.cases} cases, {plan.spatial_dims}-D"
    for place, value in rows.items():
        yield f"{place.partition('.')[2]:14} {value:24} {proposal.reasons[place]}"


def _remarks(proposal: Proposal) -> Iterator[str]:
    """What the user should know before training."""
    from medconv.planning import guessed_channels

    if proposal.reasons["plan.normalization"] != "given by the user":
        for reason in guessed_channels(proposal.plan.channel_names, proposal.plan.normalization):
            yield f"channel {reason}; or give --normalization"
    seen = proposal.fingerprint
    for name, facts in (seen.get("class_volumes_ml") or seen.get("class_pixels") or {}).items():
        if not facts["cases"]:
            yield f"class {name!r} occurs in no case: nothing can be learned of it"


def _require_free(path: str | None, option: str, *, overwrite: bool) -> None:
    if path and Path(path).is_dir():
        raise ConfigError(f"expected a file to write, {path} is a folder; name a file in it")
    if path and Path(path).exists() and not overwrite:
        raise ConfigError(f"{path} exists and may have been edited; name another file, or add --overwrite")
    if path:
        require_output_folder(Path(path).parent, option)


def _by(numbers: Sequence[float]) -> str:
    return "×".join(f"{number:g}" for number in numbers)


def _parse(words: Sequence[str]) -> Namespace:
    parser = command_parser("plan", _DESCRIPTION)
    add = parser.add_argument
    add("dataset", help="folder with dataset.json, folder with images/ and labels/, or a CSV")
    add("-o", "--output", type=str, default=None, help="YAML file; without, it is printed")
    add("--overwrite", action="store_true", help="replace files that exist")
    add("--config", action="append", default=[], help="whose operators count for the memory; repeat to merge")
    add("--fit-config", type=str, default=None, help="write a configuration for fit too, recipe as --config")
    add("--memory-gb", type=float, default=8.0, help="of the GPU to train on, in 10^9 bytes")
    add("--spacing-mm", type=list[float] | None, default=None, help="voxel size to work at")
    add("--patch", type=list[int] | None, default=None, help="voxels of a patch")
    add("--batch-size", type=int | None, default=None, help="patches in a step; the patch then follows")
    add(
        "--normalization",
        type=list[str] | None,
        default=None,
        help="zscore, percentile, range, ct or none, one a channel",
    )
    add(
        "--orientation",
        type=str | None,
        default=None,
        help="directions of the axes in 3-D; RAS where none are given, native for microscopy",
    )
    add("--resolution", type=Literal["full", "low"], default="full", help="low: until a patch sees a quarter")
    add(
        "--instances",
        type=dict[str, str | int | float] | None,
        default=None,
        help="how numbered objects are taught, as for fit: kind distance (levels) or boundary (width_vox)",
    )
    add(
        "--device",
        type=Literal["auto", "cuda", "none"],
        default="auto",
        help="where a step is tried; auto: a GPU",
    )
    add("--skip-bad-cases", action="store_true", help="leave out cases that cannot be used; exit code 1")
    add_layout_options(parser)
    add_rule_options(parser)
    add_plugin_option(parser)
    examples = {
        **RULE_EXAMPLES,
        **LAYOUT_EXAMPLES,
        "spacing_mm": "--spacing-mm '[1,1,2.5]'",
        "patch": "--patch '[64,64,64]'",
        "normalization": "--normalization '[ct,zscore]'",
        "instances": "--instances '{kind: boundary, width_vox: 2}'",
    }
    return parse(parser, words, examples)
