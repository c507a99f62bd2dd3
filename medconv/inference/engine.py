"""One case in one way: prepared, tiled, blended and decided, on whatever devices the way names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from medconv.errors import ConfigError
from medconv.inference.activation_peak import activation_peak_bytes
from medconv.inference.byte_plan import CaseSize
from medconv.inference.device import mixed_precision
from medconv.inference.ensemble import mean_rows
from medconv.inference.network_copy import copy_with
from medconv.inference.recorded import SHARES, RecordedNetwork
from medconv.inference.stopwatch import Stopwatch
from medconv.inference.tiles import Blend
from medconv.inference.turns import Turn
from medconv.inference.ways import Way, gains_by_recording
from medconv.inference.window import Network, TileRows
from medconv.io import Volume
from medconv.kernels import HAS_TRITON, to_channels_last
from medconv.kernels.lone_convolution import quick_alone
from medconv.transforms import Preprocessor, Record, Rows, rows_at_once

M = TypeVar("M", Tensor, nn.Module)

CudaGraph = bool | Literal["auto"]


@dataclass(frozen=True, eq=False)
class Member:
    """One network of an ensemble.

    Args:
        network: Ready, on the device of the engine.
        patch_size: That it was trained with.
        turns: Turned copies of each tile that are averaged over; none: as it is.
    """

    network: nn.Module
    patch_size: tuple[int, ...]
    turns: tuple[Turn, ...] = ()


class CaseEngine:
    """Networks that label one volume at a time, in a way that is chosen for each.

    Args:
        members: The networks.
        preprocessor: Of their plan.
        device: Where they are.
        dtype: What they compute in there; elsewhere it is float32.
        overlap: Share by which neighbouring tiles overlap.
        blend: How tiles are weighed.
        cuda_graph: Whether passes over tiles are recorded and replayed, see ``RecordedNetwork``; ``"auto"``: those of
            small tiles on a GPU.
    """

    def __init__(
        self,
        members: Sequence[Member],
        preprocessor: Preprocessor,
        device: torch.device,
        dtype: torch.dtype,
        overlap: float,
        blend: Blend,
        cuda_graph: CudaGraph = "auto",
    ) -> None:
        self.preprocessor, self.device = preprocessor, device
        self._dtype, self._overlap, self._blend = dtype, overlap, blend
        # the layout that the quick kernels for GPUs want
        self._is_channels_last = HAS_TRITON and device.type == "cuda"
        self.members = tuple(
            Member(self._arranged(m.network.eval().to(device)), m.patch_size, m.turns) for m in members
        )
        if cuda_graph not in (True, False, "auto"):
            raise ConfigError(f"expected cuda_graph of True, False or 'auto', got {cuda_graph!r}")
        is_wanted = cuda_graph is True
        is_recorded = is_wanted or (
            cuda_graph == "auto" and all(gains_by_recording(m.patch_size, device) for m in self.members)
        )
        self._recorded = tuple(
            RecordedNetwork(partial(self._ask, m.network), is_wanted=is_wanted)
            for m in self.members
            if is_recorded
        )
        self._tile_bytes: dict[tuple[int, str], int] = {}
        self._lock = Lock()

    @torch.inference_mode()
    def labels(
        self,
        volume: Volume,
        way: Way,
        watch: Stopwatch,
        probabilities: npt.NDArray[np.floating] | None = None,
    ) -> npt.NDArray[np.unsignedinteger]:
        """The label of each stored voxel.

        Args:
            volume: With as many channels as the plan.
            way: How and where to compute.
            watch: Gets the seconds of the stages.
            probabilities: ``(K, *S)``, filled with the probability of each class.
        """
        rows, record = self._rows_of(volume, way, watch)
        with watch.stage("restore"):
            return self.preprocessor.restore_rows(rows, record, way.slab_elements, probabilities)

    @torch.inference_mode()
    def fields(
        self,
        volume: Volume,
        way: Way,
        watch: Stopwatch,
        probabilities: npt.NDArray[np.floating] | None,
        fields: npt.NDArray[np.floating],
    ) -> npt.NDArray[np.floating]:
        """As :meth:`labels`, but what is known of single objects; ``fields (2, *S)`` is filled and returned."""
        rows, record = self._rows_of(volume, way, watch)
        with watch.stage("restore"):
            self.preprocessor.restore_fields(rows, record, fields, way.slab_elements, probabilities)
        return fields

    def _rows_of(self, volume: Volume, way: Way, watch: Stopwatch) -> tuple[Rows, Record]:
        """The scores of a volume, whose rows are made when they are asked for."""
        with watch.stage("preprocess"):
            # where scores are gathered on the processor, the volume may be too large for the card too
            image, record = self.preprocessor.apply(volume, way.gather)
            image = image[None]
        size, shape = self.preprocessor.scores_shape(record), self.preprocessor.turned_shape(record)
        most_rows = rows_at_once(size, shape, way.slab_elements)
        members = [self._rows(*asked, image, way, most_rows) for asked in self._asked(way)]
        rows = mean_rows(members, exclusive=not self.preprocessor.plan.regions)
        del image

        def timed(start: int, stop: int) -> Tensor:
            with watch.stage("network"):
                return rows(start, stop).reshape(size[0], stop - start, *size[2:])

        return timed, record

    def case_size(self, record: Record, channels: int, device: torch.device) -> CaseSize:
        """What decides about the memory of a case, with the networks on a device."""
        return CaseSize(
            channels,
            record.shape,
            record.work_shape,
            self.preprocessor.turned_shape(record),
            self.preprocessor.plan.num_classes,
            tuple(member.patch_size for member in self.members),
            tuple(self._bytes_of_a_tile(number, device) for number in range(len(self.members))),
            self.preprocessor.plan.instances is not None,
        )

    def recorded_bytes(self, size: CaseSize, way: Way) -> int:
        """Memory of the accelerator that recordings of passes keep, see ``RecordedNetwork``."""
        return SHARES * way.tile_batch * sum(size.tile_bytes) if way.is_recorded else 0

    @property
    def may_record(self) -> bool:
        """Whether passes may be recorded, and none had to be forgotten."""
        return bool(self._recorded) and not any(recorded.is_forgotten for recorded in self._recorded)

    @property
    def has_recorded(self) -> bool:
        """Whether recordings keep their memory already."""
        return any(recorded.has_recorded for recorded in self._recorded)

    @property
    def weight_bytes(self) -> int:
        """Memory of the accelerator that the weights take; 0 on a processor, where they are in what is held."""
        if self.device.type == "cpu":
            return 0
        return sum(
            tensor.numel() * tensor.element_size()
            for member in self.members
            for tensor in (*member.network.parameters(), *member.network.buffers())
        )

    def _bytes_of_a_tile(self, number: int, device: torch.device) -> int:
        """What a network takes for one tile; networks of one class may differ in their widths."""
        key, member = (number, device.type), self.members[number]
        with self._lock:
            if key not in self._tile_bytes:
                is_real = device.type == self.device.type != "cpu"
                ask = partial(self._ask, member.network) if is_real else member.network
                shape = (1, self.preprocessor.plan.in_channels, *member.patch_size)
                self._tile_bytes[key] = activation_peak_bytes(ask, shape, device)
            return self._tile_bytes[key]

    def _asked(self, way: Way) -> list[tuple[Member, Network]]:
        """The networks where the way wants them, each with how it is asked."""
        if way.is_recorded:
            return list(zip(self.members, self._recorded, strict=True))
        for recorded in self._recorded:  # memory was short
            recorded.forget()
        return [(member, partial(self._ask, member.network)) for member in self._members_on(way.device)]

    def _rows(self, member: Member, ask: Network, image: Tensor, way: Way, most_rows: int) -> Rows:
        return TileRows(
            ask,
            image,
            member.patch_size,
            overlap=self._overlap,
            batch_size=way.tile_batch,
            device=way.device,
            blend=self._blend,
            turns=member.turns,
            most_rows=most_rows,
        ).rows

    def _members_on(self, device: torch.device) -> Sequence[Member]:
        """The networks on a device; copies where that is not their own."""
        if device.type == self.device.type:
            return self.members
        return [
            Member(copy_with(m.network, lambda tensor: tensor.to(device).contiguous()), m.patch_size, m.turns)
            for m in self.members
        ]

    def _ask(self, network: nn.Module, patches: Tensor) -> Tensor:
        is_own = patches.device.type == self.device.type
        with mixed_precision(self._dtype if is_own else torch.float32, patches.device), quick_alone(patches):
            scores: Tensor = network(self._arranged(patches) if is_own else patches)
        return scores

    def _arranged(self, value: M) -> M:
        return to_channels_last(value) if self._is_channels_last else value
