"""How well membranes part an image into segments: the measures of the ISBI 2012 challenge.

A membrane that is a pixel thicker is no error; one with a hole that joins two cells is. So what is compared is not the
membrane but the segments between, after borders were thinned to a line, and only where the reference has a segment.
"""

from __future__ import annotations

from math import log, nan
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy
from skimage.segmentation import watershed

from medconv.errors import ConfigError, ShapeError
from medconv.metrics.membrane_rows import MembraneRow

Segments = npt.NDArray[np.int32]

MEMBRANE_THRESHOLDS = tuple(round(0.1 * i, 1) for i in range(1, 11))
"""0.1, 0.2 … 1.0: those of the challenge, on the probability of membrane."""

_MASK_THRESHOLD = 0.5


def segments_of(membrane: npt.NDArray[Any], *, thin: bool) -> Segments:
    """The segments between membranes: pieces of pixels that share sides.

    Args:
        membrane: ``(rows, columns)``, true on membrane.
        thin: Whether segments grow into the membrane until a line of single pixels is left, each pixel to the segment
            from which the fewest steps lead to it (a watershed of the mask). References are not thinned.

    Returns:
        Numbers from 1; 0 where there is membrane, or the line.

    Raises:
        ShapeError: Another number of axes.

    Example:
        >>> membrane = np.array([[0, 0, 1, 1, 1, 0, 0]], bool)
        >>> segments_of(membrane, thin=False).tolist(), segments_of(membrane, thin=True).tolist()
        ([[1, 1, 0, 0, 0, 2, 2]], [[1, 1, 1, 0, 2, 2, 2]])
    """
    if np.ndim(membrane) != 2:
        raise ShapeError(f"expected membrane (rows, columns), got {np.shape(membrane)}; take slice by slice")
    segments, count = scipy.ndimage.label(~np.asarray(membrane, bool), output=np.int32)
    if not thin or not count:
        return segments
    flat = np.zeros(segments.shape, np.uint8)
    return np.asarray(watershed(flat, segments, connectivity=1, watershed_line=True), np.int32)


def compare_segments(
    case_id: str, pred: npt.NDArray[Any], ref: npt.NDArray[Any], *, threshold: float = nan, place: int = 0
) -> MembraneRow:
    r"""Rand and information scores of two partitions, where the reference has segments.

    With :math:`p_{ij}` the share of pixels in segment :math:`i` of the prediction and :math:`j` of the reference,
    :math:`s_i` and :math:`t_j` its sums:

    .. math:: V^{Rand} = \frac{\sum p_{ij}^2}{\frac12\sum s_i^2 + \frac12\sum t_j^2}, \quad
              V^{Info} = \frac{I(S; T)}{\frac12 H(S) + \frac12 H(T)}

    Pixels of the reference's segments that lie on the prediction's line are segments of their own, of one pixel each.

    Args:
        case_id: Name of the image.
        pred: Segments of the prediction ``(rows, columns)``, 0 is border.
        ref: Segments of the reference, 0 is membrane and left out.
        threshold: By which the prediction was made, to be noted.
        place: Which slice of a stack it is.

    Raises:
        ShapeError: The maps differ in shape.

    Example:
        >>> ref = np.array([[1, 1, 2, 2]])
        >>> row = compare_segments("a", np.array([[1, 1, 1, 1]]), ref)
        >>> round(row.scores["v_rand"], 3), row.scores["v_rand_split"], row.scores["v_rand_merge"], row.scores["v_info"]
        (0.667, 1.0, 0.5, 0.0)

    Source: Arganda-Carreras et al., "Crowdsourcing the creation of image segmentation algorithms for connectomics",
    Frontiers in Neuroanatomy 2015.
    """
    if pred.shape != ref.shape:
        raise ShapeError(f"expected segments of one shape, got {pred.shape} and {ref.shape}")
    inside = ref > 0
    found, true = pred[inside].astype(np.int64), ref[inside].astype(np.int64)
    n, alone = len(true), int(np.count_nonzero(found == 0))
    width = int(found.max(initial=0)) + 1
    joint = np.bincount(true * width + found, minlength=1)
    joint = joint[(joint > 0) & (np.arange(len(joint)) % width > 0)]
    sizes = np.bincount(found, minlength=1)[1:]
    truths = np.bincount(true, minlength=1)[1:]
    sizes, truths = sizes[sizes > 0], truths[truths > 0]
    return MembraneRow(
        case_id=case_id,
        place=place,
        threshold=threshold,
        pixels=n,
        ref_segments=len(truths),
        pred_segments=len(sizes),
        joint_squares=_squares(joint) + alone,
        pred_squares=_squares(sizes) + alone,
        ref_squares=_squares(truths),
        joint_entropy=_entropy(joint, n) + _alone(alone, n),
        pred_entropy=_entropy(sizes, n) + _alone(alone, n),
        ref_entropy=_entropy(truths, n),
    )


def measure_membrane(
    case_id: str,
    pred: Any,
    ref: Any,
    membrane_label: int = 1,
    thresholds: tuple[float, ...] = MEMBRANE_THRESHOLDS,
) -> list[MembraneRow]:
    """Measure one image, or a stack slice by slice, at every threshold.

    Args:
        case_id: Its name.
        pred: Probability of membrane (floating point, 0 to 1), or labels (whole numbers), ``(rows, columns)`` or
            ``(rows, columns, slices)``.
        ref: Labels of the same shape.
        membrane_label: Which label is membrane.
        thresholds: A pixel is membrane where its probability is at least so large; labels have no use for them.

    Returns:
        One row a slice and threshold; of labels one a slice, noted at 0.5.

    Raises:
        ShapeError: The maps differ in shape or have not two or three axes.
        ConfigError: Probabilities or a threshold outside 0 to 1, or no threshold.

    Cost:
        One watershed a threshold: about 30 ms for 512 x 512.
    """
    pred, ref = np.asarray(pred), np.asarray(ref)
    if pred.shape != ref.shape or pred.ndim not in (2, 3):
        raise ShapeError(
            "expected prediction and reference of one shape (rows, columns) or (rows, columns, slices), got "
            f"{pred.shape} and {ref.shape}"
        )
    if not thresholds or not all(0 <= t <= 1 for t in thresholds):
        raise ConfigError(f"expected thresholds from 0 to 1, got {list(thresholds)}")
    has_shares = pred.dtype.kind == "f"
    if has_shares and not (pred.min(initial=0) >= 0 and pred.max(initial=0) <= 1):
        raise ConfigError(
            f"expected probabilities of membrane from 0 to 1, got {pred.min():g} to {pred.max():g}"
        )
    rows = []
    for place in range(1 if ref.ndim == 2 else ref.shape[2]):
        one, truth = (pred, ref) if ref.ndim == 2 else (pred[..., place], ref[..., place])
        segments = segments_of(truth == membrane_label, thin=False)
        for t in thresholds if has_shares else (_MASK_THRESHOLD,):
            thinned = segments_of(one >= t if has_shares else one == membrane_label, thin=True)
            rows.append(compare_segments(case_id, thinned, segments, threshold=float(t), place=place))
    return rows


def _squares(counts: npt.NDArray[np.intp]) -> int:
    return int((counts.astype(np.int64) ** 2).sum())


def _entropy(counts: npt.NDArray[np.intp], n: int) -> float:
    shares = counts / max(1, n)
    return float(-(shares * np.log(shares)).sum())


def _alone(pixels: int, n: int) -> float:
    """What segments of one pixel add to an entropy."""
    return pixels / n * log(n) if n else 0.0
