"""Looking at a run that goes on: from another shell, another host, or after a link was lost.

Who looks changes nothing about the run: leaving does not cancel it, its place in line and its owner stay, and no agent
is started or replaced. It does one thing: a run that somebody follows is not given up by the board, so while it is
watched its time without a follower (`bench --linger`) does not pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edgesparse import wire
from edgesparse.boards import reach
from edgesparse.boards.following import Following, OnMessage
from edgesparse.boards.inventory import Board
from edgesparse.boards.session import BoardSession, Progress
from edgesparse.boards.transport import LinkLost, Transport
from edgesparse.errors import BoardError
from edgesparse.store import RunRecord


@dataclass(frozen=True)
class GoingOn:
    """A run that is on a board: how many are before it, and how many seconds it will take yet at most."""

    run: str
    owner: str
    place: int
    remaining_s: float


def going_on(session: BoardSession) -> GoingOn:
    """The run that is measured on a board, or the first in line.

    Raises:
        BoardError: there is none, or no agent runs there.
    """
    status = _ask(session, {"type": "status"})
    if not status["queue"]:
        ended = status["ended"][:1]
        last = (
            f" The last was {ended[0]['run']} ({ended[0]['status']}): edgesparse watch {ended[0]['run']}"
            if ended
            else ""
        )
        raise BoardError(f"No run is going on on {session.board.name}.", hint=f"It is idle.{last}")
    first = status["queue"][0]
    return GoingOn(first["run"], first["owner"], first["place"], first["wait_s"] + first["remaining_s"])


def watch(
    run: str,
    board: Board,
    *,
    record: RunRecord | None = None,
    progress: Progress = lambda text: None,
    on_message: OnMessage = lambda message: None,
    reach: Callable[[Board], Transport] = reach,
) -> wire.Message:
    """Follow a run on a board to its end.

    Args:
        run: the run's id.
        board: where it is.
        record: the run in this host's store, if it is there: records that it lacks are added to it.
        progress: told each step.
        on_message: given each message that `record` has no record of.
        reach: opens a transport to the board.

    Returns:
        The agent's last message: status and reason.

    Raises:
        BoardError: the board is out of reach, its agent does not run, or it knows no such run.
    """

    def take(message: wire.Message) -> None:
        if record is not None and message["type"] == "record":
            record.append([message["record"]])
        on_message(message)

    with BoardSession(board, reach, progress) as session:
        _require_agent(session)
        have = record.last_seq if record else 0
        return Following(session, run, have, take, only_looking=True).carry_out()


def _ask(session: BoardSession, message: dict[str, Any]) -> dict[str, Any]:
    _require_agent(session)
    with session.link() as link:
        return link.ask(message)


def _require_agent(session: BoardSession) -> None:
    """Told at once and not after two minutes of trying, as when a link is lost later."""
    session.push_agent()
    try:
        session.link().close()
    except LinkLost as error:
        raise BoardError(
            f"No agent runs on {session.board.name}, so no run goes on there.",
            hint=f"What a run left there: edgesparse bench --attach RUN (it said: {error.message})",
        ) from None
