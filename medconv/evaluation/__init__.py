"""Evaluation: masks on disk against references on disk, case after case, in any number of processes.

``match_cases`` pairs files by name and tells what has no partner, ``measure_pairs`` measures the pairs, and
``finish_table`` makes one table of it. It needs neither PyTorch nor a network.
"""

from medconv.evaluation.in_processes import measure_pairs
from medconv.evaluation.instances import Instances, finish_instance_table
from medconv.evaluation.labels import declared_label_names, declared_labels
from medconv.evaluation.measure import CaseOutcome, EveryLabel, finish_table, measure_pair
from medconv.evaluation.pairs import Matching, Pair, match_cases

__all__ = [
    "CaseOutcome",
    "EveryLabel",
    "Instances",
    "Matching",
    "Pair",
    "declared_label_names",
    "declared_labels",
    "finish_instance_table",
    "finish_table",
    "match_cases",
    "measure_pair",
    "measure_pairs",
]
