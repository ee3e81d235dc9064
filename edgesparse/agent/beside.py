"""What is read beside the workers of a run: power, if the board has sensors, and conditions."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

from edgesparse import wire
from edgesparse.agent.conditions import LiveConditions
from edgesparse.agent.sampling import ConditionsSampler, Sampler, start_sampling
from edgesparse.agent.sensors import find_sources
from edgesparse.agent.sensors.meter import Meter
from edgesparse.agent.sensors.told import candidates

# A launch of which energy is to be known goes on for so many readings of the slowest sensor, within these limits.
READINGS_PER_WINDOW = 15
SHORTEST_WINDOW_S, LONGEST_WINDOW_S = 0.5, 15.0


class Beside:
    """Samplers of one run.

    Args:
        spec: whether energy is wanted, and which meter there is.
        record: keeps a record of a type.
    """

    def __init__(self, spec: wire.RunSpec, record: Callable[..., None]) -> None:
        self._spec, self._record = spec, record
        self._samplers: list[Sampler] = []
        self._told: set[tuple[str, str]] = set()
        self._reason = ""
        self._conditions: ConditionsSampler | None = None
        self._lock, self._stopped = threading.Lock(), False

    async def start(self) -> None:
        """Find the sensors and how fast they are; from then on they are read."""
        self._conditions = ConditionsSampler(LiveConditions().read)
        if self._spec.energy:
            try:
                await asyncio.get_running_loop().run_in_executor(None, self._find)
            except (OSError, ValueError) as error:
                self._reason = str(error)
        described = [sampler.describe() for sampler in self._samplers]
        self._told = {(source, channel["name"]) for group in candidates(described) for source, channel in group}
        self._record("sensors_found", sources=described, energy=self._spec.energy, reason=self._reason)

    def _find(self) -> None:
        sources = find_sources()
        if self._spec.meter:
            try:
                sources.append(Meter(self._spec.meter, self._spec.meter_scope))
            except (OSError, ValueError) as error:  # the board's own sensors are read all the same
                self._reason = f"the meter's command does not start: {error}"
        samplers = start_sampling(sources)
        with self._lock:
            self._samplers = samplers
            stopped = self._stopped
        if stopped:  # the run was cancelled while they were watched
            self.stop()

    @property
    def _slowest_s(self) -> float:
        """How far apart the readings of the slowest channel are by now of which energy may be told; 0 without any."""
        return max(
            (
                max(sampler.rate.period_s, sampler.rate.of_channel(place)[0])
                for sampler in self._samplers
                for place, channel in enumerate(sampler.source.channels)
                if (sampler.source.name, channel.name) in self._told
            ),
            default=0.0,
        )

    @property
    def window_s(self) -> float:
        """How long a launch has to last for its energy to be known; 0 without a sensor."""
        wanted_s = max(SHORTEST_WINDOW_S, READINGS_PER_WINDOW * self._slowest_s)
        return min(LONGEST_WINDOW_S, wanted_s) if self._samplers else 0.0

    async def stay_idle(self, when: str) -> None:
        """Leave the board alone for a window, so that what it takes without an inference is known."""
        if not self._samplers:
            return
        # A reading before the beginning is needed, and one behind the end.
        await asyncio.sleep(2 * self._slowest_s)
        begin_ns = time.monotonic_ns()
        await asyncio.sleep(self.window_s)
        end_ns = time.monotonic_ns()
        await asyncio.sleep(2 * self._slowest_s)
        self.record()
        self._record("idle", when=when, window_ns=[begin_ns, end_ns])

    def record(self) -> None:
        """Record what was read since the last call. Between launches: writing to the disk would disturb one."""
        for sampler in self._samplers:
            while fields := sampler.take():
                self._record("sensors", **fields)
        if self._conditions and (readings := self._conditions.take()):
            self._record("conditions_during", readings=readings)

    def stop(self) -> None:
        """Stop reading; takes as long as a reading does."""
        with self._lock:
            self._stopped = True
            samplers: list[Any] = [*self._samplers, *([self._conditions] if self._conditions else [])]
            self._samplers, self._conditions = [], None
        for sampler in samplers:
            sampler.close()
