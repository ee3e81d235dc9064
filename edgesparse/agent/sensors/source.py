"""What every source of power readings has in common.

A source reads all its channels at one moment. A reading is watts or, where the source counts, joules; or the reason why
there is none this time: one that fails now may work a second later, and costs the others nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Union

# Where a reading is taken. Two scopes never compare, and parts are never added to a total.
RAIL, SOC, BOARD_INPUT, WALL, GPU = "rail", "soc", "board-input", "wall", "gpu"
POWER, ENERGY = "power", "energy"

# Watts or joules, or why there is no reading.
Reading = Union[float, str]  # noqa: UP007 (evaluated, also by the Python 3.9 of a board)
Read = Callable[[], float]


@dataclass(frozen=True)
class Channel:
    """One thing that is measured.

    Args:
        name: as the board calls it, such as VDD_IN; the same after every boot.
        scope: RAIL, SOC, BOARD_INPUT, WALL or GPU.
        counts: POWER, in watts, or ENERGY, in joules since some moment.
        resolution: the smallest step of its readings, in their unit; 0 where the source does not say.
        wraps_at: the joules at which a counter starts again from 0; None if it does not.
        total: it holds everything of its scope, and the source's other channels are parts of it.
    """

    name: str
    scope: str
    counts: str = POWER
    resolution: float = 0.0
    wraps_at: float | None = None
    total: bool = False

    def to_message(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


class Source:
    """Channels that are read together.

    Args:
        name: which kind of source, and which one of several.
        locate: finds the channels as they are now, each with how it is read.
        declared_period_s: how often it renews its readings as far as it says.
        simulated: not of this world; every output says so.
    """

    def __init__(
        self,
        name: str,
        locate: Callable[[], Mapping[Channel, Read]],
        declared_period_s: float | None = None,
        *,
        simulated: bool = False,
    ) -> None:
        self.name, self.declared_period_s, self.simulated = name, declared_period_s, simulated
        self._locate = locate
        self._readers = dict(locate())
        self.channels = list(self._readers)
        self._look_again = False

    def read(self) -> list[Reading]:
        """Every channel's reading, in the order of `channels`."""
        if self._look_again:  # what was unplugged may be back, under another number
            found = {channel.name: read for channel, read in self._locate().items()}
            self._readers = {channel: found.get(channel.name, self._readers[channel]) for channel in self.channels}
            self._look_again = False
        return [self._reading(channel) for channel in self.channels]

    def _reading(self, channel: Channel) -> Reading:
        try:
            return self._readers[channel]()
        except FileNotFoundError:
            self._look_again = True
            return "it has gone"
        except PermissionError:
            return "only root may read it"
        except OSError as error:
            return error.strerror or str(error)
        except ValueError as error:
            return f"no number: {error}"

    def close(self) -> None:
        """Let go of what it holds."""


def number(path: Path) -> float:
    """The number in a file of the kernel's.

    Raises:
        OSError: it cannot be read. ValueError: there is something else in it.
    """
    text = path.read_text(encoding="ascii", errors="replace").strip()
    try:
        return float(int(text))
    except ValueError:
        raise ValueError(repr(text[:40])) from None


def text(path: Path) -> str:
    """What is in a file of the kernel's; "" where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""


def unique(name: str, taken: Mapping[Channel, Read], where: str) -> str:
    """The name; with where it is behind it if another channel has it already."""
    return f"{name} ({where})" if any(channel.name == name for channel in taken) else name
