"""Many boards at once: each in a thread of its own, so that one that fails costs its own row alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from edgesparse.boards.inventory import Board, find_boards
from edgesparse.interrupting import InterruptibleThread

__all__ = ["Outcome", "find_boards", "on_each"]

# How long an interrupted board may take to be freed before nobody waits for it any more.
FREEING_S = 60.0
_POLL_S = 0.2

Result = TypeVar("Result")


@dataclass(frozen=True)
class Outcome(Generic[Result]):
    """What came of one board: a result, or why there is none."""

    board: Board
    result: Result | None
    error: BaseException | None


def on_each(boards: Sequence[Board], do: Callable[[Board], Result]) -> list[Outcome[Result]]:
    """Do the same on every board, all at once; the outcomes in the order of the boards.

    What a board's `do` raises is its outcome. KeyboardInterrupt is passed on to every board's `do`, which frees the
    board; it is raised here when all have ended.
    """
    workers = [_Worker(board, do) for board in boards]
    for worker in workers:
        worker.start()
    try:
        _wait(workers)
    except KeyboardInterrupt:
        for worker in workers:
            worker.interrupted.set()
        _wait(workers, FREEING_S)
        raise
    return [worker.outcome for worker in workers]


def _wait(workers: Sequence[_Worker[Any]], within_s: float | None = None) -> None:
    left_s = within_s
    for worker in workers:
        # With a time limit, so that Ctrl-C is heard; not by join: interrupted in it, Python takes the thread for ended.
        while not worker.ended.wait(_POLL_S) and (left_s is None or left_s > 0):
            left_s = None if left_s is None else left_s - _POLL_S


class _Worker(InterruptibleThread, Generic[Result]):
    def __init__(self, board: Board, do: Callable[[Board], Result]) -> None:
        super().__init__(name=board.name)
        self._board, self._do = board, do
        self.outcome: Outcome[Result] = Outcome(board, None, None)
        self.ended = threading.Event()

    def run(self) -> None:
        try:
            self.outcome = Outcome(self._board, self._do(self._board), None)
        except BaseException as error:  # shown in the board's row; what nobody expected, too
            self.outcome = Outcome(self._board, None, error)
        finally:
            self.ended.set()
