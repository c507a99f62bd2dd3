"""A CSV with one row a case: ``image,label`` or ``image_0,image_1,…,label``, and maybe ``case_id,group``."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from medconv.errors import DatasetError
from medconv.io.cases import Case, Dataset, check_cases, raise_problems
from medconv.io.declared_labels import DeclaredLabels
from medconv.io.description import channel_names_in, declared_labels_in, read_description
from medconv.io.readers import stem_of


def read_csv(path: Path, tolerated: list[str] | None = None) -> Dataset:
    """The cases of a table; paths are relative to the CSV or absolute.

    Names of channels and labels come from a JSON file of the same stem (``cohort.csv``, ``cohort.json``) with
    ``channel_names`` and ``labels`` as in nnU-Net. Without one, channels are called after their columns and
    the labels have no names.

    Args:
        path: The table.
        tolerated: Where given, problems of single rows are added here and the rows left out.

    Raises:
        DatasetError: Unknown or missing columns, empty fields, duplicates, missing files; all of it listed.
    """
    problems = [] if tolerated is None else tolerated
    columns, rows = _read_rows(path)
    image_columns = _image_columns(columns, problems)
    unknown = [c for c in columns if c not in {*image_columns, "label", "group", "case_id"}]
    problems.extend(
        f"unknown column {c!r}; expected image (or image_0, …), label, case_id, group" for c in unknown
    )
    raise_problems(path, problems)
    cases = [_case(path.parent, row, line, image_columns, problems) for line, row in enumerate(rows, start=2)]
    channels, labels = _names(path, image_columns, problems)
    found = check_cases(path, [c for c in cases if c], problems, tolerant=tolerated is not None)
    return Dataset.declaring(path.parent, found, channels, labels)


def _read_rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        header = text.partition("\n")[0]
        reader = csv.DictReader(
            text.splitlines(), delimiter=";" if ";" in header and "," not in header else ","
        )
        rows = [{(k or "").strip(): _field(v) for k, v in row.items()} for row in reader]
    except (OSError, ValueError, csv.Error) as error:
        raise DatasetError(
            f"{path}: expected a CSV file, cannot read it ({error}); correct or restore it"
        ) from error
    return [column.strip() for column in reader.fieldnames or []], rows


def _field(value: str | list[str] | None) -> str:
    return ("".join(value) if isinstance(value, list) else value or "").strip()


def _image_columns(columns: list[str], problems: list[str]) -> list[str]:
    if "image" in columns:
        return ["image"]
    numbered = [f"image_{n}" for n in range(len(columns)) if f"image_{n}" in columns]
    if not numbered or numbered[-1] != f"image_{len(numbered) - 1}":
        problems.append(
            f"expected a column image, or image_0, image_1, … without gaps, got the columns {columns}"
        )
    return numbered


def _case(
    root: Path, row: Mapping[str, str], line: int, image_columns: list[str], problems: list[str]
) -> Case | None:
    required = [*image_columns, *(column for column in ("label", "group", "case_id") if column in row)]
    empty = [column for column in required if not row.get(column)]
    if empty or row.get(""):
        problems.append(
            f"line {line}: " + (f"nothing in {', '.join(empty)}" if empty else "more fields than columns")
        )
        return None
    images = tuple(root / row[column] for column in image_columns)
    case_id = row.get("case_id") or stem_of(images[0])
    label = root / row["label"] if "label" in row else None
    return Case(case_id, images, label, row.get("group", case_id))


def _names(
    path: Path, image_columns: list[str], problems: list[str]
) -> tuple[tuple[str, ...], DeclaredLabels]:
    sidecar = path.with_suffix(".json")
    if not sidecar.is_file():
        return tuple(image_columns), DeclaredLabels()
    description = read_description(sidecar)
    return channel_names_in(description, problems), declared_labels_in(description, problems)
