"""Every latency of a run in about a byte each, for a page: sorted, in 65536 logarithmic steps between the least and the
greatest of its cell, as differences, compressed. A step is far finer than a dot, and no sample is left out."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgesparse.report.charts.tables import all_series, cells, series_of
from edgesparse.report.summary import Comparison

STEPS = 65535
# What a clock that did not move is drawn as.
_LEAST_MS = 1e-6


def pack(comparison: Comparison) -> dict[str, Any]:
    """What a page needs to draw every sample.

    Returns:
        `cells`: variant, series, its slot, number of samples, least and greatest latency in ms. `bytes`: base64 of a
        gzip file with the low bytes of all differences, then the high ones.
    """
    series = all_series(comparison)
    described, steps = [], [np.zeros(0, np.uint16)]
    for variant, row in cells(comparison):
        if not row.samples_ms:
            continue
        low, high, differences = encode(row.samples_ms)
        name = series_of(comparison, row)
        described.append([variant.name, name, series.index(name), len(row.samples_ms), low, high])
        steps.append(differences)
    planes = np.concatenate(steps).astype("<u2").view(np.uint8).reshape(-1, 2).T.tobytes()
    return {"cells": described, "bytes": base64.b64encode(gzip.compress(planes, 9, mtime=0)).decode("ascii")}


def encode(latencies_ms: Sequence[float]) -> tuple[float, float, npt.NDArray[np.uint16]]:
    """Least, greatest, and the differences of the sorted latencies' steps."""
    logs = np.log(np.maximum(np.sort(np.asarray(latencies_ms, float)), _LEAST_MS))
    span = max(float(logs[-1] - logs[0]), 1e-12)
    steps = np.rint((logs - logs[0]) / span * STEPS).astype(np.int64)
    low, high = float(np.exp(logs[0])), float(np.exp(logs[-1]))
    return low, high, np.diff(steps, prepend=0).astype(np.uint16)


def unpack(packed: dict[str, Any]) -> list[npt.NDArray[np.float64]]:
    """The latencies of each cell, sorted, as the page decodes them."""
    planes = np.frombuffer(gzip.decompress(base64.b64decode(packed["bytes"])), np.uint8).reshape(2, -1)
    differences = planes[0].astype(np.int64) + 256 * planes[1].astype(np.int64)
    found, begin = [], 0
    for _, _, _, count, low, high in packed["cells"]:
        steps = np.cumsum(differences[begin : begin + count])
        found.append(low * np.exp(steps / STEPS * np.log(high / low)))
        begin += count
    return found
