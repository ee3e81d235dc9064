"""A board that answers with anything: the host says so in one sentence, keeps no endless line, and never falls over."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesparse import wire
from edgesparse.boards.agent_link import AgentLink
from edgesparse.boards.answers import check_answer
from edgesparse.boards.facts import BoardFacts, parse_facts
from edgesparse.boards.following import Following
from edgesparse.boards.inventory import resolve
from edgesparse.boards.putting import put_files
from edgesparse.boards.runtimes import list_runtimes
from edgesparse.boards.session import BoardSession
from edgesparse.boards.transport import Completed, LineStream, LinkLost
from edgesparse.errors import BoardError
from tests.agent.test_hostile import ODD, SPEC, spoiled

SAMPLES = Path(__file__).parent.parent / "data" / "boards"
IN_LINE = {"run": "r", "owner": "o", "place": 0, "since_s": 1.0, "wait_s": 0, "remaining_s": 2.5, "followers": 1}
ANSWERS: list[dict[str, Any]] = [
    {"type": "status", "state": "measuring", "held_by": None, "queue": [IN_LINE],
     "ended": [{"run": "r", "owner": None, "status": "finished"}]},
    {"type": "accepted", "run": "r", "place": 0, "wait_s": 0.0},
    {"type": "place", "run": "r", "place": None, "wait_s": 0, "held_by": "pi's agent"},
    {"type": "record", "record": {"seq": 1, "t_ns": 5, "type": "run"}},
    {"type": "end", "run": "r", "status": "finished", "reason": ""},
    {"type": "cancelled", "run": "r", "was_in_line": True},
    {"type": "logs", "lines": ["a"]},
    {"type": "stopping"},
    {"type": "ping"},
    {"type": "error", "code": "busy", "message": "no"},
]  # fmt: skip


NOTHING_SOUND: list[Any] = [None, 3.5, True, [3], {}]


class Says(LineStream):
    """A stream that says just this, and then has ended."""

    def __init__(self, said: bytes) -> None:
        super().__init__()
        self.left = said
        self.written: list[wire.Message] = []

    def _receive(self, timeout_s: float) -> bytes:
        chunk, self.left = self.left[:65536], self.left[65536:]
        return chunk

    def write(self, data: bytes) -> None:
        self.written.append(wire.decode(data))

    def close(self) -> None:
        pass


class Board:
    """A board on which every command says just this."""

    home, is_here = "/home/pi/.edgesparse", False

    def __init__(self, said: bytes) -> None:
        self.said = said

    def run(self, argv: list[str], *, input: bytes | None = None, timeout_s: float) -> Completed:
        return Completed(0, self.said, b"")

    def open(self, argv: list[str]) -> Says:
        return Says(self.said)

    def put(self, pairs: list[tuple[Path, str]], progress: Callable[[int], None]) -> int:
        return put_files(self, pairs, progress, where="it", compress=False)

    def close(self) -> None:
        pass


def link(*messages: bytes) -> AgentLink:
    return AgentLink(Says(wire.encode(wire.hello("1")) + b"".join(messages)), "pi")


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer["type"])
def test_what_agents_say_is_taken(answer: dict[str, Any]) -> None:
    check_answer(answer)
    for place in ("queue", "record", "run", "message", "lines"):
        for odd in NOTHING_SOUND:
            if place in answer:
                with pytest.raises(wire.WireError, match=rf"^{answer['type']}\.{place}"):
                    check_answer({**answer, place: odd})


@pytest.mark.parametrize("seed", range(300))
def test_a_spoiled_answer_is_an_answer_or_refused(seed: int) -> None:
    chance = random.Random(seed)
    said = [json.dumps(spoiled(chance.choice(ANSWERS), chance)).encode() + b"\n" for _ in range(4)]
    seen: list[Any] = []
    for ask in (
        lambda: link(*said).ask({"type": "status"}),
        lambda: link(*said).submit(SPEC),
        lambda: link(*said).cancel("r"),
        lambda: seen.extend(link(*said).follow("r", 0)),
    ):
        try:
            ask()
        except BoardError as error:
            assert "\n" not in str(error)
    for message in seen:
        check_answer(message)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_bytes_that_are_no_answer_are_refused(said: bytes) -> None:
    for line in (said, said + b"\n"):
        with pytest.raises(BoardError):
            AgentLink(Says(line), "pi")
        with pytest.raises(BoardError):
            link(line).submit(SPEC)


def test_whoever_follows_answers_pings_and_hears_nothing_of_them() -> None:
    end = {"type": "end", "run": "r", "status": "finished", "reason": ""}
    says = Says(b"".join(wire.encode(each) for each in (wire.hello("1"), {"type": "ping"}, end)))
    assert list(AgentLink(says, "pi").follow("r", 0)) == [end]
    assert [message["type"] for message in says.written] == ["hello", "follow", "pong"]


def test_nonsense_ends_a_run_instead_of_reaching_the_board_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    session = BoardSession(resolve("raspberrypi5", host="board"), lambda board: Board(b""))
    monkeypatch.setattr(session, "link", lambda: link(b'{"type":"accepted","run":"r","place":0,"wait_s":0}\n', b"?\n"))
    with pytest.raises(BoardError, match="sent what is no message of an agent") as caught:
        Following(session, "r", 0, lambda message: None).carry_out(SPEC)
    assert not isinstance(caught.value, LinkLost)


def test_half_a_message_is_a_link_that_broke() -> None:
    with pytest.raises(LinkLost, match="in the middle of a message"):
        link(b'{"type":"acc').submit(SPEC)


def test_an_endless_line_is_not_kept() -> None:
    endless = Says(b"x" * (3 * wire.MAX_LINE_BYTES))
    with pytest.raises(BoardError, match=f"does not end within {wire.MAX_LINE_BYTES} bytes"):
        endless.readline(5)
    assert len(endless._buffer) == 0
    assert len(endless.left) > wire.MAX_LINE_BYTES


@pytest.mark.parametrize("seed", range(200))
def test_facts_with_anything_in_them_are_facts(seed: int) -> None:
    chance = random.Random(seed)
    sample = chance.choice(sorted(SAMPLES.glob("*.txt"))).read_text().splitlines()
    for _ in range(8):
        place = chance.randrange(len(sample))
        key = sample[place].partition(" ")[0]
        odd = chance.choice(ODD)
        sample[place] = f"{key} {chance.choice([odd, json.dumps({'path': odd, 'version': odd, 'modules': odd})])}"
    found = parse_facts("\n".join(sample))
    assert isinstance(found, BoardFacts)
    assert all(python.path.startswith("/") and len(python.version) == 3 for python in found.pythons)


@pytest.mark.parametrize(
    "said", [b"", b"[]", b"3", b'{"state": 3}', b'{"state":"running"}', b"[" * 100_000, b"\xff\x00", b"null"]
)
def test_an_agent_program_that_says_anything(said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    session = BoardSession(resolve("raspberrypi5", host="board"), lambda board: Board(said))
    monkeypatch.setattr(BoardSession, "push_agent", lambda self, anew=False: None)
    monkeypatch.setattr(BoardSession, "_agent_command", lambda self, *arguments: ["python3", *arguments])
    monkeypatch.setattr(session, "_python", parse_facts((SAMPLES / "ubuntu-24.txt").read_text()).pythons[0])
    with pytest.raises(BoardError, match="did not start"):
        session.control("uninstall")
    with pytest.raises(BoardError):
        next(session.look_at_sensors())


@pytest.mark.parametrize("said", [b"\n", b"ready\n", b"ready -1\n", b"ready 1 x\n", b"failed\n", b"\xff\n", b"ready"])
def test_a_put_that_is_answered_with_anything(said: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(BoardError):
        Board(said).put([(tmp_path / "file", "/objects/file")], lambda count: None)


def test_directories_with_odd_names_are_no_runtimes() -> None:
    there = Board(b"0123456789abcdef 100 numpy-2.2.6\na b c 100\n\nname\n x 4\n")
    assert [each["name"] for each in list_runtimes(there)] == ["0123456789abcdef"]


READINGS = {
    "seq": 2,
    "t_ns": [5, 6],
    "type": "sensors",
    "source": "rapl",
    "values": {"core": [1.5, None]},
    "errors": [],
}


def test_readings_have_a_time_each() -> None:
    check_answer({"type": "record", "record": READINGS})
    odd: list[dict[str, Any]] = [{"t_ns": 5}, {"t_ns": [5, "6"]}, {"values": []}, {"errors": None}, {"type": "idle"}]
    for spoiled_ in odd:
        with pytest.raises(wire.WireError, match=r"record\.record\.\w+(\[\])? cannot be"):
            check_answer({"type": "record", "record": {**READINGS, **spoiled_}})
