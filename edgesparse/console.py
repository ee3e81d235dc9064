"""What the commands say: data to stdout, talk to stderr; plain lines where there is no terminal, bars where there is
one."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from statistics import median
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console

from edgesparse import wire
from edgesparse.errors import EdgesparseError
from edgesparse.quantity import Quantity, millions

if TYPE_CHECKING:
    from rich.progress import TaskID

    from edgesparse.prune import EpochDone

PIPE_COLUMNS = 140

# Without a terminal there is no width to fit; COLUMNS decides if somebody set it.
_piped = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPE_COLUMNS
data = Console(highlight=False, width=_piped)
talk = Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """One step, in a few words."""
    talk.print(f"· {text}", markup=False, style="dim", soft_wrap=True)


def say_epoch(done: EpochDone) -> None:
    """One epoch of training."""
    accuracy = "" if done.accuracy is None else f", accuracy {done.accuracy:.1%}"
    zeros = f", {done.sparsity:.0%} zeros" if done.sparsity else ""
    note = f"; {done.note}" if done.note else ""
    say(f"epoch {done.epoch}/{done.of}: loss {done.loss:.4f}{accuracy}{zeros}{note}")


def command(text: str) -> None:
    """The command line that does what comes next."""
    talk.print(f"\n$ {text}", markup=False, style="bold", soft_wrap=True)


def complain(error: EdgesparseError) -> None:
    """An expected failure: what it is, then what to do."""
    talk.print(f"error: {error.message}", markup=False, style="bold red", soft_wrap=True)
    if error.hint:
        talk.print(error.hint, markup=False, soft_wrap=True)


def print_json(document: Any) -> None:
    """One JSON document on stdout; structs and dataclasses as objects."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n")


class PushView:
    """A bar of bytes while files move; nothing when none do.

    Args:
        total_bytes: what would move to an empty board.
    """

    def __init__(self, total_bytes: int) -> None:
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        columns = (TextColumn("· pushing"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        self._progress = Progress(*columns, console=talk, transient=True, disable=not talk.is_terminal)
        self._task = self._progress.add_task("push", total=total_bytes, visible=False)

    def __call__(self, count: int) -> None:
        self._progress.update(self._task, advance=count, visible=True)

    def __enter__(self) -> PushView:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()


# How often a long launch is told of where there is no terminal.
_SLICE_LINES_NS = 30_000_000_000


class RunView:
    """A run as it goes on: a bar on a terminal, a line per round elsewhere.

    Args:
        title: what is measured where.

    Attributes:
        quantity: what the board's clock counts; an emulated board's times are not shown.
        most_rounds: how many there will be at most, where that is known.
    """

    def __init__(self, title: str) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("· {task.description}"),
            BarColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=talk, transient=True, disable=not talk.is_terminal)
        self._task: TaskID = self._progress.add_task(title, total=None, detail="")
        self._cells: set[str] = set()
        self._latest: dict[str, str] = {}
        self._slices_since: dict[str, int] = {}
        self._round = 0
        self._done = 0
        self.quantity: Quantity = "latency"
        self.most_rounds: int | None = None

    def __enter__(self) -> RunView:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, message: wire.Message) -> None:
        """Take one message of the run."""
        if message["type"] == "place":
            self._on_place(message)
        elif message["type"] == "record":
            record = message["record"]
            handler = getattr(self, f"_on_{record['type']}", None)
            if handler:
                handler(record)

    @staticmethod
    def _on_place(message: wire.Message) -> None:
        if place := message.get("place"):
            runs = "1 run is" if place == 1 else f"{place} runs are"
            say(f"{runs} before this one; waiting for {message['wait_s']:.0f} s at most")
        elif message.get("held_by"):
            say(f"{message['held_by']} measures on this machine; waiting")

    def _on_check(self, record: wire.Message) -> None:
        if record["status"] == "ok":
            self._cells.add(record["cell"])
            self._progress.update(self._task, detail=f"checked {record['cell']}")
        else:
            say(f"{record['cell']} fails its check and is not timed: {record['reason']}")

    def _on_samples(self, record: wire.Message) -> None:
        if record["round"] != self._round:
            self._end_round()
            self._round = record["round"]
        self._done += 1
        self._latest[record["cell"]] = self._measured(record["latency_ns"])
        total = len(self._cells) * self.most_rounds if self.most_rounds else None
        detail = f"round {self._round + 1}  {record['cell']}  {self._latest[record['cell']]} {self._unit}"
        self._progress.update(self._task, completed=self._done, total=total, detail=detail)

    def _on_slice(self, record: wire.Message) -> None:
        begin_ns, end_ns = record["window_ns"]
        cell = record["cell"]
        since_ns = self._slices_since.setdefault(cell, begin_ns)
        shown = f"{cell}  {(end_ns - since_ns) / 1e9:.0f} s  {self._measured(record['latency_ns'])} {self._unit}"
        self._progress.update(self._task, detail=shown)
        step = (end_ns - since_ns) // _SLICE_LINES_NS
        if not talk.is_terminal and step > (begin_ns - since_ns) // _SLICE_LINES_NS:
            say(shown)

    @staticmethod
    def _on_cooled_down(record: wire.Message) -> None:
        if record["waited_s"] >= 1:
            again = "" if record["reached"] else ", and is still warmer than at first"
            say(f"the board cooled down for {record['waited_s']:.0f} s before {record['cell']}{again}")

    @staticmethod
    def _on_sensors_found(record: wire.Message) -> None:
        if names := [source["source"] for source in record["sources"]]:
            say(f"reading power beside the workers: {', '.join(names)}")
        elif record["reason"]:
            say(f"no power is read: {record['reason']}")

    @staticmethod
    def _on_tuned(record: wire.Message) -> None:
        before = ", ".join(sorted(set(record["before"].values())))
        say(f"governor {record['governor']} for this run; {before} is put back after it")

    def _on_cell_failed(self, record: wire.Message) -> None:
        self._cells.discard(record["cell"])
        say(f"{record['cell']} failed in round {record['round'] + 1} ({record['kind']}): {record['reason']}")

    def _on_stopped(self, record: wire.Message) -> None:
        self._end_round()
        say(f"stopped: {record['reason']}; {record['detail']}" if record["detail"] else f"stopped: {record['reason']}")

    def _end_round(self) -> None:
        if not talk.is_terminal and self._latest:
            medians = ", ".join(f"{cell} {value}".rstrip() for cell, value in self._latest.items())
            say(f"round {self._round + 1}{', ' * bool(self._unit)}{self._unit}: {medians}")
        self._latest = {}

    @property
    def _unit(self) -> str:
        return {"latency": "ms", "instructions": "million instructions", "nothing": ""}[self.quantity]

    def _measured(self, samples_ns: list[int]) -> str:
        if self.quantity == "latency":
            return f"{median(samples_ns) / 1e6:.3f}"
        return millions(min(samples_ns)) if self.quantity == "instructions" else ""


class FleetView:
    """Many boards as they go on: a line for each on a terminal, elsewhere a line for each step.

    Args:
        names: of the boards.
    """

    def __init__(self, names: Sequence[str]) -> None:
        from rich.progress import Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("· {task.description}"), TextColumn("{task.fields[step]}"), TimeElapsedColumn())
        self._progress = Progress(*columns, console=talk, transient=True, disable=not talk.is_terminal)
        self._tasks = {name: self._progress.add_task(name, total=None, step="") for name in names}

    def __enter__(self) -> FleetView:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def of(self, name: str) -> Callable[[str], None]:
        """What takes the steps of a board."""

        def step(text: str) -> None:
            if talk.is_terminal:
                self._progress.update(self._tasks[name], step=text)
            else:
                say(text if name in text else f"{name}: {text}")

        return step

    def messages_of(self, name: str) -> Callable[[wire.Message], None]:
        """What takes the messages of a board's run."""
        step, counts = self.of(name), {"checked": 0, "measured": 0}

        def take(message: wire.Message) -> None:
            record = message.get("record", {})
            if message["type"] == "place" and message.get("place"):
                step(f"waiting; {message['place']} before it, {message['wait_s']:.0f} s at most")
            elif record.get("type") == "check":
                counts["checked"] += 1
                if talk.is_terminal or record["status"] != "ok":
                    step(f"checked {record['cell']}: {record['status']} ({counts['checked']})")
            elif record.get("type") == "samples":
                counts["measured"] += 1
                if talk.is_terminal:
                    step(f"round {record['round'] + 1}, {record['cell']} ({counts['measured']} launches)")
            elif record.get("type") == "stopped":
                step(f"stopped: {record['reason']}; {counts['measured']} launches")

        return take

    def watched(self, do: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """The same, with a last word on its line."""

        def watch(board: Any) -> Any:
            step = self.of(board.name)
            try:
                result = do(board)
            except EdgesparseError as error:
                step(f"failed: {error.message}")
                raise
            step("done")
            return result

        return watch
