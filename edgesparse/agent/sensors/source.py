"""What every source of power readings has in common.

A source reads all its channels at one moment. A reading is watts or, where the source counts, joules; or the reason why
there is none this time: one that fails now may work a second later, and costs the others nothing.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Union

# Where a reading is taken. Two scopes never compare, and parts are never added to a total.
RAIL, SOC, BOARD_INPUT, WALL, GPU = "rail", "soc", "board-input", "wall", "gpu"
POWER, ENERGY = "power", "energy"

# Watts or joules, or why there is no reading.
Reading = Union[float, str]  # noqa: UP007 (evaluated, also by the Python 3.9 of a board)
Read = Callable[[], float]

# What the kernel says of a device that has been unplugged: no file, or one that nothing is behind.
_GONE = (errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR)
_MOST_BYTES = 4096


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
        place: where on the board it sits, such as an address on a bus: it tells channels of one name apart.
        part: another channel of the source holds it, which is no total: it is never added to that one.
        nameless: nobody has labelled it, so nothing tells whether another one is behind it or beside it.
        declared_s: how often it is renewed as far as its chip says; None where it says nothing of itself.
    """

    name: str
    scope: str
    counts: str = POWER
    resolution: float = 0.0
    wraps_at: float | None = None
    total: bool = False
    place: str = ""
    part: bool = False
    nameless: bool = False
    declared_s: float | None = None

    def to_message(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


class Source:
    """Channels that are read together.

    Args:
        name: which kind of source, and which one of several.
        locate: finds the channels as they are now, each with how it is read; two of one name have different places.
        declared_period_s: how often it renews its readings as far as it says, where its channels do not say it.
        simulated: not of this world; every output says so.
    """

    # Its lines carry the time of a clock of their own; nobody has to ask for them.
    stamped = False
    # Another process does the work of a reading, so what that takes is not in this thread's time.
    elsewhere = False

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
        found = locate()
        self._readers = dict(zip(_named(list(found)), found.values()))
        self._found_as = dict(zip(self._readers, found))
        self.channels = list(self._readers)
        self._look_again = False

    def read(self) -> list[Reading]:
        """Every channel's reading, in the order of `channels`."""
        if self._look_again:  # what was unplugged may be back, under another number
            self._look_again = False
            self._locate_again()
        return [self._reading(channel) for channel in self.channels]

    def _locate_again(self) -> None:
        """Each channel by its name and place; by its name alone where there was and is but one of that name. One
        that is nowhere has gone, though another chip may have its files by now."""
        try:
            found = self._locate()
        except OSError:  # it goes or comes just now: the readings say so, and the next look may find it
            self._look_again = True
            return
        at = {(channel.name, channel.place): read for channel, read in found.items()}
        names = Counter(channel.name for channel in found)
        before = Counter(channel.name for channel in self._found_as.values())
        only = {channel.name: read for channel, read in found.items() if names[channel.name] == 1}
        for channel, was in self._found_as.items():
            read = at.get((was.name, was.place)) or (only.get(was.name) if before[was.name] == 1 else None)
            self._readers[channel] = read or _gone

    def _reading(self, channel: Channel) -> Reading:
        try:
            return self._readers[channel]()
        except PermissionError:
            return "only root may read it"
        except OSError as error:
            if error.errno in _GONE:
                self._look_again = True
                return "it has gone"
            return error.strerror or str(error)
        except ValueError as error:
            return f"no number: {error}"

    def close(self) -> None:
        """Let go of what it holds."""


def _gone() -> float:
    raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))


def _named(channels: list[Channel]) -> list[Channel]:
    """The same under names of their own: the place behind a name that another has already."""
    names: set[str] = set()
    named = []
    for channel in channels:
        name, number = channel.name, 1
        while name in names:
            again = f" {number}" if number > 1 else ""
            name, number = f"{channel.name} ({channel.place}{again})", number + 1
        names.add(name)
        named.append(replace(channel, name=name))
    return named


def declared_s(chip: Path) -> float | None:
    """How often a chip of hwmon's is renewed as far as it says; None where it does not."""
    try:
        return number(chip / "update_interval") / 1e3 or None
    except (OSError, ValueError):
        return None


def number(path: Path) -> float:
    """The number in a file of the kernel's.

    Raises:
        OSError: it cannot be read. ValueError: there is something else in it.
    """
    found = _content(path)
    try:
        return float(int(found))
    except (ValueError, OverflowError):
        raise ValueError(repr(found.decode("ascii", "replace").strip()[:40])) from None


def text(path: Path) -> str:
    """What is in a file of the kernel's; "" where it cannot be read."""
    try:
        return _content(path).decode("utf-8", "replace").strip("\0\n ")
    except OSError:
        return ""


def names_in(directory: Path) -> list[str]:
    """The names of its files, in order; none where it has gone or may not be looked into."""
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def device_of(chip: Path) -> str:
    """The device behind a directory of hwmon's, such as an address on a bus; "" where nothing tells. From the links'
    own words, which a copy of the tree holds too."""
    try:
        return os.path.basename(os.readlink(chip / "device"))
    except OSError:
        pass  # a copy that has followed it, or none
    try:
        above = os.path.dirname(os.path.dirname(os.readlink(chip)))
    except OSError:
        return ""
    return os.path.basename(above)


def _content(path: Path) -> bytes:
    """By the three calls that it takes and no more: this happens many times a second, in cold caches."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(handle, _MOST_BYTES)
    finally:
        os.close(handle)
