"""`medconv predict --engine ray`: an actor pool of Ray Data over the same case after case as without it.

An actor that dies is started again and what it was at is handed out once more; what ends with its process again and
again is tried alone at last, and is then a failure with a name. Without ``RAY_ADDRESS`` a Ray of our own is started on
this machine, on the loopback interface alone, and ends with the command.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jsonargparse import Namespace

from medconv.errors import ConfigError, MedconvError
from medconv.inference.case_actor import CaseActor
from medconv.inference.case_stages import CaseResult
from medconv.inference.inputs import InputCase
from medconv.processors import usable_processors

Job = tuple[InputCase, Path]

_TRIES = 3
"""Times that a case may end with its process, in company and then again alone."""

_STORE_BYTES = 128 * 2**20
"""Ray's memory for what passes between processes: here results of some hundred bytes."""

_PATIENCE_S = 10.0

_ENDED = (
    "its process ended each time that it was tried (main memory, or a library that crashes on this file?); look at the "
    "file, or run the same command with --skip-existing on a machine with more memory"
)


class _Actor(CaseActor):
    """What Ray calls: a number in, the number and its result out."""

    def __init__(self, jobs: Sequence[Job], arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        super().__init__(*arguments, **options)
        self._jobs = jobs

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        result = self.predict(*self._jobs[row["number"]])
        return {"number": row["number"], "result": pickle.dumps(result)}


@dataclass(frozen=True)
class RayPool:
    """Actors of a Ray that runs.

    Args:
        actors: How many.
        device: Where each computes, ``"cuda"`` or ``"cpu"``.
        cpus: Processor cores of each.
    """

    actors: int
    device: str
    cpus: int

    @property
    def words(self) -> str:
        """In words: ``"2 Ray actor(s), each with a GPU"``."""
        share = "a GPU" if self.device == "cuda" else f"{self.cpus} CPU core(s)"
        return f"{self.actors} Ray actor(s), each with {share}"

    def predict(
        self, jobs: Sequence[Job], checkpoints: Sequence[str], settings: dict[str, Any], **options: Any
    ) -> Iterator[CaseResult]:
        """Hand the cases out and tell of each when it is done, in no fixed order.

        Args:
            jobs: Cases and the files for their masks.
            checkpoints: See ``CaseActor``.
            settings: See ``CaseActor``; the device is the pool's.
            options: The other arguments of ``CaseActor``.

        Raises:
            MedconvError: No actor can be started, or Ray itself failed.
        """
        arguments = (jobs, (checkpoints, settings | {"device": self.device}), options)
        missing = dict(enumerate(jobs))
        was_full = False
        for calls in (CaseActor.CALLS_AT_ONCE, 1):
            for row in self._rows(sorted(missing), arguments, calls):
                result: CaseResult = pickle.loads(row["result"])  # noqa: S301  what our own actor made
                del missing[row["number"]]
                yield result
                if was_full and result.found_disk_full:
                    return
                was_full = result.found_disk_full
        for case, output in missing.values():
            yield CaseResult(case.case_id, "failed", 0.0, f"{case.paths[0]}: {_ENDED}", output)

    def _rows(self, numbers: list[int], arguments: tuple[Any, ...], calls: int) -> Iterator[dict[str, Any]]:
        if not numbers:
            return
        import ray

        # a block is what is handed out and, when an actor dies, done again
        asked = ray.data.from_items([{"number": n} for n in numbers], override_num_blocks=len(numbers))
        strategy = ray.data.ActorPoolStrategy(
            size=min(self.actors, len(numbers)),
            max_tasks_in_flight_per_actor=calls,
            max_concurrent_calls_per_actor=calls,
            enable_true_multi_threading=True,
        )
        with warnings.catch_warnings():
            # that restarts and tries will have no names of their own in Ray 2.64, which pyproject.toml leaves out
            warnings.simplefilter("ignore", ray.util.annotations.RayDeprecationWarning)
            actor: Any = _Actor  # Ray makes one a process and calls that
            done = asked.map(
                actor,
                fn_constructor_args=arguments,
                compute=strategy,
                num_cpus=self.cpus,
                num_gpus=1 if self.device == "cuda" else 0,
                max_restarts=-1,
                max_task_retries=_TRIES - 1,
            )
        try:
            yield from done.iter_rows()
        except ray.exceptions.RayError as error:
            reason = " ".join(str(error).split())[-300:]
            raise MedconvError(
                f"Ray could not go on: … {reason}; masks that were written are whole, and the same command with "
                f"--skip-existing does the rest"
            ) from error


@contextmanager
def ray_pool(options: Namespace) -> Iterator[RayPool]:
    """Start Ray, or join the cluster that ``RAY_ADDRESS`` names; leave nothing of it behind.

    Args:
        options: Of the command, parsed.

    Raises:
        ConfigError: A device by number, or more GPUs than there are.
        MedconvError: Ray does not start, or its cluster is not there.
    """
    if options.device not in ("auto", "cuda", "cpu"):
        raise ConfigError(
            f"--engine ray chooses devices itself: expected --device auto, cuda or cpu, got {options.device!r}"
        )
    address = os.environ.get("RAY_ADDRESS") or "local"  # set to nothing is not set
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="medconv-", ignore_cleanup_errors=True)))
        stack.enter_context(_hushed(folder, is_local=address == "local"))
        start = _local_start(options, folder) if address == "local" else lambda: _join(options, address)
        import ray

        stack.callback(ray.shutdown)
        try:
            with _stderr_in(folder / "start.log"):
                pool = start()
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            where = "on this machine"
            if address != "local":
                where = f"at RAY_ADDRESS={address}, with RAY_AUTH_MODE as it is here"
            raise MedconvError(
                f"expected a Ray that runs {where}: {' '.join(str(error).split())[:300]}"
            ) from error
        _set_up_data()
        yield pool


def _local_start(options: Namespace, folder: Path) -> Callable[[], RayPool]:
    import torch

    there = 0 if options.device == "cpu" else torch.cuda.device_count()
    device = _device(options, there)
    cores = usable_processors()
    pool = RayPool(options.devices, device, max(1, cores // options.devices))

    def start() -> RayPool:
        import ray

        ray.init(
            "local",
            num_cpus=pool.cpus * pool.actors,
            num_gpus=pool.actors if device == "cuda" else 0,
            object_store_memory=_STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            _node_ip_address="127.0.0.1",
            _temp_dir=str(folder),
        )
        return pool

    return start


def _join(options: Namespace, address: str) -> RayPool:
    import ray

    host, _, port = address.rpartition("://")[2].rpartition(":")
    if port.isdecimal():  # Ray itself would ask for minutes
        socket.create_connection((host, int(port)), timeout=_PATIENCE_S).close()
    ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL)
    there = 0 if options.device == "cpu" else int(ray.cluster_resources().get("GPU", 0))
    return RayPool(options.devices, _device(options, there), 1)


def _device(options: Namespace, there: int) -> str:
    """Where the actors compute, on so many GPUs."""
    if options.device == "cpu" or (options.device == "auto" and not there):
        return "cpu"
    if options.devices > there:
        raise ConfigError(
            f"--devices: expected at most the {there} GPU(s) that there are, got {options.devices}"
        )
    return "cuda"


@contextmanager
def _hushed(folder: Path, *, is_local: bool) -> Iterator[None]:
    """No telemetry, no word of Ray's among ours, and no port of a Ray of our own that other machines can reach."""
    quiet = folder / "logging.yaml"
    quiet.write_text("{version: 1, loggers: {ray.data: {level: CRITICAL, handlers: [], propagate: false}}}\n")
    wanted = {"RAY_BACKEND_LOG_LEVEL": "fatal", "RAY_DATA_LOGGING_CONFIG": str(quiet)}
    if (
        is_local
    ):  # asked for the loopback address, Ray takes another on Linux, unless it may not form a cluster
        wanted["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    before = os.environ.get("RAY_USAGE_STATS_ENABLED")
    os.environ.update(added, RAY_USAGE_STATS_ENABLED="0")
    try:
        yield
    finally:
        for name in (*added, "RAY_USAGE_STATS_ENABLED"):
            del os.environ[name]
        if before is not None:
            os.environ["RAY_USAGE_STATS_ENABLED"] = before


@contextmanager
def _stderr_in(file: Path) -> Iterator[None]:
    """Lead what Ray's core says while it starts, past Python, into a file."""
    sys.stderr.flush()
    before = os.dup(2)
    with file.open("wb") as target:
        os.dup2(target.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(before, 2)
        os.close(before)


def _set_up_data() -> None:
    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.enable_operator_progress_bars = False
    context.print_on_execution_start = False
    context.max_errored_blocks = -1  # a case that is lost is noticed and told by name
