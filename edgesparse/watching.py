"""Looking at a run that goes on: from another shell, another host, or after a link was lost.

Who looks changes nothing about the run: leaving does not cancel it, its place in line and its owner stay, and no agent
is started or replaced. It does one thing: a run that somebody follows is not given up by the board, so while it is
watched its time without a follower (`bench --linger`) does not pass.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgesparse import wire
from edgesparse.boards.following import Following, OnMessage
from edgesparse.boards.session import BoardSession
from edgesparse.boards.transport import LinkLost
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
    _require_agent(session)
    with session.link() as link:
        status = link.ask({"type": "status"})
    if not status["queue"]:
        last = "".join(f" The last was {each['run']} ({each['status']})." for each in status["ended"][:1])
        raise BoardError(f"No run is going on on {session.board.name}.", hint=f"It is idle.{last}")
    first = status["queue"][0]
    return GoingOn(first["run"], first["owner"], first["place"], first["wait_s"] + first["remaining_s"])


def watch(
    session: BoardSession,
    run: str,
    *,
    record: RunRecord | None = None,
    on_message: OnMessage = lambda message: None,
) -> wire.Message:
    """Follow a run on a board to its end.

    Args:
        session: the board.
        run: the run's id.
        record: the run in this host's store, if it is there: records that it lacks are added to it.
        on_message: given each message that `record` has no record of.

    Returns:
        The agent's last message: status and reason.

    Raises:
        BoardError: the board is out of reach, its agent does not run, or it knows no such run.
    """

    def take(message: wire.Message) -> None:
        if record is not None and message["type"] == "record":
            record.append([message["record"]])
        on_message(message)

    _require_agent(session)
    return Following(session, run, record.last_seq if record else 0, take, only_looking=True).carry_out()


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
