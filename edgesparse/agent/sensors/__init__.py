"""Power: where its readings come from. One file per source; each finds its channels below a root, by their names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgesparse.agent.sensors import battery, hwmon, iio, ina3221, nvml, pmic, rapl, simulated
from edgesparse.agent.sensors.source import Channel, Reading, Source

__all__ = ["Channel", "Reading", "Source", "find_sources"]


def find_sources(root: Path = Path("/")) -> list[Source]:
    """Every source of this board.

    Args:
        root: where `sys` and `proc` lie; only what is found there counts with another than the machine's own.
    """
    return list(_all(root))


def _all(root: Path) -> Iterator[Source]:
    for kind in (ina3221, iio, hwmon, rapl, battery, pmic):
        yield from kind.find(root)
    if root == Path("/"):
        yield from nvml.find()
    yield from simulated.find()
