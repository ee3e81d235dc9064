"""Power sensors, looked at without a run: what there is, how fast it is, and what it reads."""

from __future__ import annotations

import json
import select
import sys
import time
from typing import Any

from edgesparse.agent.sampling import Sampler, start_sampling
from edgesparse.agent.sensors import find_sources
from edgesparse.agent.sensors.meter import Meter
from edgesparse.agent.sensors.source import Source

# How long is read for what is shown once, and after how long is looked for what has been plugged in since.
_LOOK_S = 1.0
_LOOK_AGAIN_S = 5.0


def main(meter: str, meter_scope: str, *, watch: bool) -> int:
    """Print one line with everything that was read in a second; with `watch` one each second until stdin ends, also of
    sensors that are plugged in meanwhile."""
    sources, error = find_sources(), ""
    if meter:
        try:
            sources.append(Meter(meter, meter_scope))
        except (OSError, ValueError) as why:
            error = f"the meter's command does not start: {why}"
    samplers, looked_s = start_sampling(sources), time.monotonic()
    try:
        while True:
            if watch and time.monotonic() - looked_s >= _LOOK_AGAIN_S:
                _add_new(samplers)
                looked_s = time.monotonic()
            ended, _, _ = select.select([sys.stdin] if watch else [], [], [], _LOOK_S)
            if ended and not sys.stdin.readline():
                return 0
            print(json.dumps({"error": error, "sources": [_taken(sampler) for sampler in samplers]}), flush=True)
            if not watch:
                return 0
    finally:
        for sampler in samplers:
            sampler.close()


def _add_new(samplers: list[Sampler]) -> None:
    """Read what has been plugged in since they were found. A source that has got another channel is found anew, without
    those that have gone."""
    try:
        found = find_sources()
    except OSError:  # one comes or goes just now: the next look finds it
        return
    known = {sampler.source.name: sampler for sampler in samplers}
    new = []
    for source in found:
        before = known.get(source.name)
        if before is None or not set(_names(source)) <= set(_names(before.source)):
            new.append(source)
            if before is not None:
                before.close()
                samplers.remove(before)
    samplers += start_sampling(new)


def _names(source: Source) -> list[str]:
    return [channel.name for channel in source.channels]


def _taken(sampler: Sampler) -> dict[str, Any]:
    return {"t_ns": [], "values": {}, "errors": [], **sampler.describe(), **(sampler.take() or {})}
