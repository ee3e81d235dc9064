"""A run followed by its owner and by somebody who only looks: lost links, interruptions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

from edgesparse.boards.following import Following
from edgesparse.boards.session import BoardSession
from edgesparse.boards.transport import LinkLost

END = {"type": "end", "run": "r", "status": "finished", "reason": ""}


def record(seq: int) -> dict[str, Any]:
    return {"type": "record", "record": {"seq": seq, "type": "samples"}}


class ScriptedSession:
    """A board that says what each link was given to say; an exception among it is raised there."""

    def __init__(self, *links: list[Any]) -> None:
        self.links = list(links)
        self.followed_from: list[int] = []
        self.reconnected: list[bool] = []
        self.cancelled: list[str] = []
        self.board = type("Board", (), {"name": "pi"})()

    def progress(self, text: str) -> None:
        pass

    def link(self) -> ScriptedLink:
        return ScriptedLink(self, self.links.pop(0))

    def reconnect(self, *, start: bool = True) -> None:
        self.reconnected.append(start)


class ScriptedLink:
    def __init__(self, session: ScriptedSession, says: list[Any]) -> None:
        self.session, self.says = session, says

    def __enter__(self) -> ScriptedLink:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def follow(self, run: str, have: int) -> Iterator[dict[str, Any]]:
        self.session.followed_from.append(have)
        for message in self.says:
            if isinstance(message, BaseException):
                raise message
            yield message

    def cancel(self, run: str) -> None:
        self.session.cancelled.append(run)


def following(session: ScriptedSession, seen: list[Any], **options: Any) -> Following:
    return Following(cast(BoardSession, session), "r", 0, seen.append, **options)


@pytest.mark.parametrize("only_looking", [False, True])
def test_a_lost_link_goes_on_behind_the_last_record(only_looking: bool) -> None:
    session = ScriptedSession([record(1), record(2), LinkLost("gone")], [record(3), END])
    seen: list[Any] = []
    assert following(session, seen, only_looking=only_looking).carry_out() == END
    assert [message["record"]["seq"] for message in seen] == [1, 2, 3]
    assert session.followed_from == [0, 2]
    assert session.reconnected == [not only_looking], "who only looks starts no agent"


def test_an_owner_who_interrupts_frees_the_board_and_gets_the_last_records() -> None:
    session = ScriptedSession([record(1), KeyboardInterrupt()], [record(2), END])
    seen: list[Any] = []
    with pytest.raises(KeyboardInterrupt):
        following(session, seen).carry_out()
    assert session.cancelled == ["r"]
    assert [message["record"]["seq"] for message in seen] == [1, 2]


def test_who_only_looks_leaves_the_run_alone() -> None:
    session = ScriptedSession([record(1), KeyboardInterrupt()])
    seen: list[Any] = []
    with pytest.raises(KeyboardInterrupt):
        following(session, seen, only_looking=True).carry_out()
    assert session.cancelled == []
    assert session.links == []
