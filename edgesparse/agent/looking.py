"""Power sensors, looked at without a run: what there is, how fast it is, and what it reads."""

from __future__ import annotations

import json
import select
import sys
from typing import Any

from edgesparse.agent.sampling import Sampler, start_sampling
from edgesparse.agent.sensors import find_sources
from edgesparse.agent.sensors.meter import Meter

# How long is read for what is shown once.
_LOOK_S = 1.0


def main(meter: str, meter_scope: str, *, watch: bool) -> int:
    """Print one line with everything that was read in a second; with `watch` one each second until stdin ends."""
    sources, error = find_sources(), ""
    if meter:
        try:
            sources.append(Meter(meter, meter_scope))
        except (OSError, ValueError) as why:
            error = f"the meter's command does not start: {why}"
    samplers = start_sampling(sources)
    try:
        while True:
            ended, _, _ = select.select([sys.stdin] if watch else [], [], [], _LOOK_S)
            if ended and not sys.stdin.readline():
                return 0
            print(json.dumps({"error": error, "sources": [_taken(sampler) for sampler in samplers]}), flush=True)
            if not watch:
                return 0
    finally:
        for sampler in samplers:
            sampler.close()


def _taken(sampler: Sampler) -> dict[str, Any]:
    return {"t_ns": [], "values": {}, "errors": [], **sampler.describe(), **(sampler.take() or {})}
