"""Many volumes over many jobs: each job takes a share of about the same number of voxels, without asking the others."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from medconv.errors import MedconvError
from medconv.inference.inputs import InputCase
from medconv.inference.predictor import Predictor
from medconv.io import reader_for


def deal(sizes: Sequence[int], count: int) -> list[list[int]]:
    """Which items belong to each of ``count`` shards: the largest first, each to the shard with least so far.

    Every item is in exactly one shard, and the same sizes are always dealt alike.

    Args:
        sizes: Of each item, such as its voxels.
        count: Number of shards.

    Example:
        >>> deal([5, 1, 4, 2], 2)
        [[0, 1], [2, 3]]
    """
    shards: list[list[int]] = [[] for _ in range(count)]
    loads = [0] * count
    for item in sorted(range(len(sizes)), key=lambda item: (-sizes[item], item)):
        least = min(range(count), key=lambda shard: (loads[shard], len(shards[shard]), shard))
        shards[least].append(item)
        loads[least] += sizes[item]
    return [sorted(shard) for shard in shards]


def shard_cases(cases: Sequence[InputCase], number: int, count: int) -> list[InputCase]:
    """The cases of shard ``number`` of ``count``; only headers are read.

    Args:
        cases: All cases, the same for every job.
        number: From 1.
        count: Number of shards.
    """
    ordered = sorted(cases, key=lambda case: (case.case_id, [str(path) for path in case.paths]))
    return [ordered[item] for item in deal([case_voxels(case) for case in ordered], count)[number - 1]]


def case_voxels(case: InputCase) -> int:
    """Voxels times channels by the headers; 0 for a case that cannot be read, which some job must report."""
    try:
        headers = [reader_for(path, case.layout).read_header(path) for path in case.paths]
    except Exception:  # whatever it is: reading the case meets it again and keeps it with the case
        return 0
    return sum(header.channels * prod(header.shape) for header in headers)


def announce_memory(
    predictor: Predictor, cases: Sequence[InputCase], *, probabilities: bool = False
) -> tuple[str, bool]:
    """What the case with most voxels will take, in words, and whether others may be in memory beside it.

    Args:
        predictor: The network, ready.
        cases: All that will be predicted.
        probabilities: Whether the probability of every class is kept.

    Returns:
        The words, nothing where its header cannot be read; and whether there is room (and need) to read and write other
        cases while one is computed.
    """
    several = len(cases) > 1
    if not cases:
        return "", several
    case = max(cases, key=case_voxels)
    try:
        header = reader_for(case.paths[0], case.layout).read_header(case.paths[0])
    except Exception:  # as above
        return "", several
    words = ""
    for overlapped in (True, False) if several else (False,):
        try:
            plan = predictor.byte_plan(
                header.geometry,
                header.shape,
                str(case.paths[0]),
                probabilities=probabilities,
                overlapped=overlapped,
            )
        except MedconvError as error:
            words = f"memory: {error}"
        else:
            alone = ", one case after the other" if several and not overlapped else ""
            return f"memory: {plan}{alone} (largest file: {case.case_id})", overlapped
    return words, False
