"""A run as it goes on: drawn on a terminal, told in lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live

from edgesparse import console, wire
from edgesparse.live.drawing import RunDrawing
from edgesparse.live.state import RunState
from edgesparse.live.telling import Telling
from edgesparse.quantity import Quantity

CANCELS = "Ctrl-C cancels the run and keeps what was measured"
LEAVES = "Ctrl-C leaves; the run goes on"

# The board may be this very machine, and drawing must not disturb what is measured: 60 cells take 8 ms of a core.
DRAWN_PER_S = 1.0


class RunView:
    """A run as it goes on: a view that is drawn anew on a terminal, a line per round elsewhere.

    Args:
        title: what is measured where.
        leaving: what Ctrl-C does.
        now_s: a monotonic clock.

    Attributes:
        state: what is known of the run.
    """

    def __init__(self, title: str, leaving: str = CANCELS, now_s: Callable[[], float] = time.monotonic) -> None:
        self.title, self.leaving, self._now_s = title, leaving, now_s
        self.state = RunState()
        self._lock = threading.Lock()
        drawn = console.draws()
        self._telling = Telling(self.state, every_step=not drawn)
        self._live = Live(
            self, console=console.talk, transient=True, refresh_per_second=DRAWN_PER_S, redirect_stdout=False,
            redirect_stderr=False,
        ) if drawn else None  # fmt: skip

    @property
    def quantity(self) -> Quantity:
        """What the board's clock counts; an emulated board's times are not shown."""
        return self.state.quantity

    @quantity.setter
    def quantity(self, quantity: Quantity) -> None:
        self.state.quantity = quantity

    @property
    def most_rounds(self) -> int | None:
        """How many there will be at most, where that is known."""
        return self.state.most_rounds

    @most_rounds.setter
    def most_rounds(self, rounds: int | None) -> None:
        self.state.most_rounds = rounds

    def __rich_console__(self, shown_on: Console, options: ConsoleOptions) -> RenderResult:
        """The view as it is now. Live draws it in a thread of its own."""
        with self._lock:
            drawing = RunDrawing(self.state, self.title, self.leaving, self._now_s())
            parts = list(drawing.__rich_console__(shown_on, options))
        yield from parts

    def result(self) -> RunDrawing:
        """What was seen in the end, to print."""
        return RunDrawing(self.state, self.title, "", self._now_s(), whole=True)

    def catch_up(self, run: str, spec: Mapping[str, Any], records: Iterable[wire.Message]) -> None:
        """Take what a run had told before, without a word."""
        with self._lock:
            self.state.plan(run, spec)
            for record in records:
                self.state.take({"type": "record", "record": record}, self._now_s())

    def __enter__(self) -> RunView:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, message: wire.Message) -> None:
        """Take one message of the run."""
        with self._lock:
            self.state.take(message, self._now_s())
        for line in self._telling.lines(message):
            console.say(line)
