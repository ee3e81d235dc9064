"""What the commands say: data to stdout, talk to stderr; plain lines where there is no terminal, bars where there is
one."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console

from edgesparse import wire
from edgesparse.errors import EdgesparseError

if TYPE_CHECKING:
    from edgesparse.prune import EpochDone

PIPE_COLUMNS = 140

# Without a terminal there is no width to fit; COLUMNS decides if somebody set it.
_piped = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPE_COLUMNS
data = Console(highlight=False, width=_piped)
talk = Console(stderr=True, highlight=False)


def draws() -> bool:
    """Whether talk goes to a terminal that can move its cursor. FORCE_COLOR, which CI servers set for colours in their
    logs, makes none of a file."""
    return talk.is_terminal and talk.file.isatty() and not talk.is_dumb_terminal


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
        self._progress = Progress(*columns, console=talk, transient=True, disable=not draws())
        self._task = self._progress.add_task("push", total=total_bytes, visible=False)

    def __call__(self, count: int) -> None:
        self._progress.update(self._task, advance=count, visible=True)

    def __enter__(self) -> PushView:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()


class FleetView:
    """Many boards as they go on: a line for each on a terminal, elsewhere a line for each step.

    Args:
        names: of the boards.
    """

    def __init__(self, names: Sequence[str]) -> None:
        from rich.progress import Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("· {task.description}"), TextColumn("{task.fields[step]}"), TimeElapsedColumn())
        self._progress = Progress(*columns, console=talk, transient=True, disable=not draws())
        self._drawn = draws()
        self._tasks = {name: self._progress.add_task(name, total=None, step="") for name in names}

    def __enter__(self) -> FleetView:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def of(self, name: str) -> Callable[[str], None]:
        """What takes the steps of a board."""

        def step(text: str) -> None:
            if self._drawn:
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
                if self._drawn or record["status"] != "ok":
                    step(f"checked {record['cell']}: {record['status']} ({counts['checked']})")
            elif record.get("type") == "samples":
                counts["measured"] += 1
                if self._drawn:
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
