"""NVIDIA GPUs through NVML, where nvidia-ml-py is installed beside the runtime."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from edgesparse.agent.sensors.source import ENERGY, GPU, Channel, Read, Source


def find(nvml: Any = None) -> Iterator[Source]:
    """One source for all GPUs.

    Args:
        nvml: the module, where it is not to be imported.
    """
    if nvml is None:
        try:
            import pynvml as nvml  # type: ignore[import-not-found,import-untyped,no-redef,unused-ignore]
        except ImportError:
            return
    try:
        nvml.nvmlInit()
        count = nvml.nvmlDeviceGetCount()
    except nvml.NVMLError:  # the module without a driver
        return
    source = Source("nvml", lambda: _channels(nvml, count))
    if source.channels:
        yield source


def _channels(nvml: Any, count: int) -> dict[Channel, Read]:
    found: dict[Channel, Read] = {}
    for index in range(count):
        with contextlib.suppress(nvml.NVMLError):  # one that has fallen off the bus takes none of the others with it
            channel, read = _channel(nvml, index, count)
            found[channel] = read
    return found


def _channel(nvml: Any, index: int, count: int) -> tuple[Channel, Read]:
    """The counter of joules where the GPU has one (since Volta), else its power, which NVML smooths."""
    device = nvml.nvmlDeviceGetHandleByIndex(index)
    name = nvml.nvmlDeviceGetName(device)
    name = f"GPU {index} {name.decode() if isinstance(name, bytes) else name}"
    try:
        nvml.nvmlDeviceGetTotalEnergyConsumption(device)
    except nvml.NVMLError:
        channel = Channel(name, GPU, resolution=1e-3, total=count == 1)
        return channel, _guarded(nvml, nvml.nvmlDeviceGetPowerUsage, device)
    channel = Channel(name, GPU, ENERGY, 1e-3, total=count == 1)
    return channel, _guarded(nvml, nvml.nvmlDeviceGetTotalEnergyConsumption, device)


def _guarded(nvml: Any, ask: Any, device: Any) -> Read:
    def read() -> float:
        try:
            return float(ask(device)) / 1e3
        except nvml.NVMLError as error:
            raise OSError(0, str(error)) from None

    return read
