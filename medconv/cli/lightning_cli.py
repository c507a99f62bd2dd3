"""The parser and the trainer behind `fit`, `validate` and `test`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, Namespace
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.utilities.exceptions import MisconfigurationException, SIGTERMException

from medconv.cli.complete_words import complete_words, split_words
from medconv.cli.fold import choose_fold
from medconv.cli.init_from import init_from
from medconv.cli.out_of_memory import explain_out_of_memory, is_out_of_memory, smaller_batch
from medconv.cli.outcome import checkpoint_to_measure, report_outcome
from medconv.cli.paths import require_file
from medconv.cli.plain_speech import speak_plainly
from medconv.cli.planned_network import keep_plan, settle_network
from medconv.cli.preview import write_preview
from medconv.cli.run_folder import RunFolder, choose_run_folder, is_first_process, keep_log, require_resumable
from medconv.cli.watchers import progress_bar, watchers
from medconv.datamodules import SegmentationDataModule
from medconv.errors import ConfigError, MedconvError
from medconv.inference import read_checkpoint
from medconv.io.atomic import write_text
from medconv.models import restrict_class_paths
from medconv.models.parse_errors import explain_parse_error
from medconv.training import AtomicCheckpointIO, SegmentationTask, build_task
from medconv.training.build import build_data
from medconv.training.same_plan import require_same_plan

log = logging.getLogger("medconv")

INTERRUPTED, TERMINATED = 130, 143

_OF_THIS_CALL = (
    "config",
    "ckpt_path",
    "weights_only",
    "name",
    "runs",
    "resume",
    "fold",
    "init_from",
    "preview_augmentation",
)
"""What is asked of one call and is no part of the run's configuration."""


def run_command(command: str, options: list[str]) -> int:
    """Parse and run ``fit``, ``validate`` or ``test``; returns the exit code."""
    speak_plainly()
    named, options = split_words("--plugin", options)
    plugins = tuple(package for names in named for package in names.split(","))
    with restrict_class_paths(plugins):
        try:
            MedconvCLI(command, complete_words(command, options, plugins), plugins)
        except PreviewDone:
            return 0
        except SIGTERMException:
            return TERMINATED
        except MisconfigurationException as error:
            raise ConfigError(" ".join(str(error).split())) from error
        except SystemExit as stop:  # Lightning ends an interrupted run with 1
            if isinstance(stop.__context__, KeyboardInterrupt):
                return INTERRUPTED
            raise
    return 0


class PreviewDone(Exception):  # noqa: N818 - the end of a call that trains nothing, no error
    """A picture was asked for, and nothing else."""


class MedconvCLI(LightningCLI):
    """LightningCLI with a run folder, our one door to tasks, and a measured end."""

    def __init__(self, command: str, options: list[str], plugins: tuple[str, ...]) -> None:
        self.plugins = plugins
        # an abbreviated option is a misspelt one
        strict = {"exit_on_error": False, "allow_abbrev": False}
        super().__init__(
            SegmentationTask,
            SegmentationDataModule,
            subclass_mode_data=True,
            save_config_callback=None,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            parser_kwargs={c: {"prog": f"medconv {c}"} | strict for c in self.subcommands()} | strict,
            trainer_defaults={
                "max_epochs": 100,
                "num_sanity_val_steps": 1,
                "log_every_n_steps": 50,
                "use_distributed_sampler": False,
                "enable_progress_bar": sys.stderr.isatty(),
                "enable_model_summary": False,
            },
            args=[command, *options],
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """The three commands; prediction is a command of its own."""
        return {k: v for k, v in LightningCLI.subcommands().items() if k != "predict"}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """What a run is called, where it is written, how it continues."""
        if parser.prog != "medconv fit":
            return
        parser.add_argument("--name", type=str, default="run", help="the run is written to RUNS/NAME")
        parser.add_argument("--runs", type=str, default="runs", help="folder of all runs")
        parser.add_argument("--resume", type=str, default="never", help="never, auto, or a checkpoint file")
        parser.add_argument(
            "--fold", type=int | None, default=None, help="validate on this fold; the run is RUNS/NAME/fold_K"
        )
        parser.add_argument(
            "--init-from", type=str | None, default=None, help="take the weights of a trained network over"
        )
        parser.add_argument(
            "--preview-augmentation",
            type=str | None,
            default=None,
            help="draw augmented samples into this PNG file and stop",
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse what the dispatcher handed over, not ``sys.argv``."""
        try:
            self.config = parser.parse_args(args)
        except ArgumentError as error:
            options = self._subcommand_parsers[args[0]].get_defaults().keys()
            raise ConfigError(explain_parse_error(error, options)) from error

    def _parse_ckpt_path(self) -> None:
        """A checkpoint never changes what the user typed."""

    @property
    def settings(self) -> Namespace:
        """The parsed settings of the chosen command."""
        return self.config[self.subcommand]

    def instantiate_classes(self) -> None:
        """Data first (its plan sets the voxel size of the network), then the task, then the trainer."""
        preview = self.settings.preview_augmentation if self.subcommand == "fit" else None
        if self.subcommand == "fit":
            require_resumable(self.settings.resume)
        else:
            self.run = self._beside_checkpoint()
        resolved = self._resolved()
        if resolved.get("data") is None:
            raise ConfigError("expected data, e.g. --data DemoDataModule or --config unet_sym; got none")
        if self.subcommand == "fit":
            choose_fold(resolved["data"], self.settings.fold)
        self.datamodule = build_data(resolved["data"], self.plugins)
        self.datamodule.prepare_plan()
        if preview is not None:
            log.info(write_preview(self.datamodule, preview))
            raise PreviewDone
        self.datamodule.require_split()
        if remark := settle_network(resolved["model"]["network"].get("init_args", {}), self.datamodule):
            log.info(remark)
        self.model = build_task(resolved["model"], self.plugins)
        self.model.data_config = resolved["data"]
        if self.subcommand == "fit":
            self.run = self._choose_folder()  # nothing of what was refused before leaves a folder behind
            self._require_plan_of_run()
        self._make_trainer()
        if self.subcommand == "fit" and self.trainer.is_global_zero:
            resolved["model"] = self.model.config
            resumed = self.run.resume_from is not None
            # None or -1: no such limit
            epochs = self.trainer.max_epochs if (self.trainer.max_epochs or 0) > 0 else None
            keep_plan(self.datamodule, resolved["data"], self.run.path, epochs, resumed=resumed)
            write_text(self.run.path / "config.yaml", yaml.safe_dump(resolved, sort_keys=False))
        self.config_init[self.subcommand]["weights_only"] = True
        if self.run.resume_from is not None:
            self.config_init[self.subcommand]["ckpt_path"] = str(self.run.resume_from)

    def _make_trainer(self) -> None:
        try:
            if self.subcommand == "fit":
                self._take_over_weights(self.settings.init_from)
            self.config_init = self._instantiate_rest()
            self.trainer = self.instantiate_trainer()
        except Exception:
            self.run.drop_if_empty()
            raise

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer with our callbacks, loggers and checkpoint writer beside the user's."""
        given = self.config_init[self.subcommand]["trainer"]
        kwargs["default_root_dir"] = self.run.path
        kwargs["logger"] = self._loggers(given.get("logger"))
        kwargs["plugins"] = [*_as_list(given.get("plugins")), AtomicCheckpointIO()]
        kwargs["callbacks"] = [
            *_as_list(given.get("callbacks")),
            *watchers(str(self.subcommand), self.run.path),
            *progress_bar(str(self.subcommand), given),
        ]
        return super().instantiate_trainer(**kwargs)

    def _run_subcommand(self, subcommand: str) -> None:
        try:
            super()._run_subcommand(subcommand)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise MedconvError(explain_out_of_memory(error, self.datamodule, self._smaller(error))) from error

    def after_fit(self) -> None:
        """Measure the best checkpoint on whole unseen cases."""
        if self.settings.trainer.fast_dev_run:
            return
        folder = Path(self.trainer.strategy.broadcast(str(self.run.path)))
        best = checkpoint_to_measure(folder)
        if self.trainer.is_global_zero:
            log.info("measuring %d whole case(s) with %s", len(self.datamodule.test_set), best)
        measure = self.trainer.test if self.datamodule.has_test_cases else self.trainer.validate
        measure(self.model, datamodule=self.datamodule, ckpt_path=str(best), verbose=False, weights_only=True)
        self._report(best)

    def after_validate(self) -> None:
        """Tell the result."""
        self._report(Path(self.settings.ckpt_path))

    after_test = after_validate

    # --- parts -------------------------------------------------------------------------------------

    def _smaller(self, error: BaseException) -> int | None:
        device, is_mixed = self.trainer.strategy.root_device, "16" in str(self.trainer.precision)
        return smaller_batch(error, self.model.network, self.datamodule, device, is_mixed=is_mixed)

    def _take_over_weights(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        if self.run.resume_from is not None:
            log.info(f"--init-from has no effect: the run continues from {self.run.resume_from}")
            return
        folder = self.run.path if is_first_process() else None
        lines = init_from(checkpoint, self.model.network, self.plugins, folder)
        for line in lines if is_first_process() else ():
            log.info(line)

    def _report(self, checkpoint: Path) -> None:
        if self.trainer.is_global_zero:
            report_outcome(self.model, self.datamodule, self.run.path, checkpoint)

    def _require_plan_of_run(self) -> None:
        # training asks again, but by then the configuration of the run would be overwritten
        if self.run.resume_from is not None:
            begun = read_checkpoint(self.run.resume_from, allow=self.plugins).plan
            require_same_plan(begun, self.datamodule.plan)

    def _beside_checkpoint(self) -> RunFolder:
        if not self.settings.ckpt_path:
            raise ConfigError(f"expected a checkpoint: medconv {self.subcommand} runs/NAME/best.ckpt")
        checkpoint = require_file(self.settings.ckpt_path, "checkpoint")
        return RunFolder(checkpoint.parent / str(self.subcommand), None, ())

    def _choose_folder(self) -> RunFolder:
        settings = self.settings
        name = settings.name if settings.fold is None else f"{settings.name}/fold_{settings.fold}"
        run = choose_run_folder(Path(settings.runs), name, settings.resume, self.plugins)
        for remark in run.remarks if is_first_process() else ():
            log.info(remark)
        return run

    def _resolved(self) -> dict[str, Any]:
        text = self.parser.dump(self.config, skip_link_targets=False, skip_none=False, format="yaml")
        resolved = yaml.safe_load(text)[self.subcommand]
        return {k: v for k, v in resolved.items() if k not in _OF_THIS_CALL}

    def _instantiate_rest(self) -> Namespace:
        config = self.config.clone()
        for key in ("model", "data"):
            config[self.subcommand].pop(key, None)
        return self.parser.instantiate(config, instantiate_groups=False)

    def _loggers(self, given: Any) -> list[Logger]:
        if given is False:
            return []
        if self.run.resume_from is not None and is_first_process():
            keep_log(self.run.path)
        loggers = [] if given in (None, True) else _as_list(given)
        return [CSVLogger(self.run.path, name="", version=""), *loggers]


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
