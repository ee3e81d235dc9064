"""Messages from whoever wishes the agent ill: each gets an error and is hung up on, and the agent goes on."""

from __future__ import annotations

import copy
import json
import random
import string
from typing import Any

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesparse import wire
from tests.agent.conftest import Agent

ODD: list[Any] = [
    None, True,
    -1, 0, 2**63, 2**70, 1e308, -1e308, "", "x" * 300, "../../etc/passwd", "/etc/passwd", "a\x00b", "\ud800",
    "run-\n", [], [[]], {}, {"type": {}}, ["a"], {"": ""}, float("inf"), float("nan"), [None] * 50,
]  # fmt: skip
SPEC = wire.RunSpec(
    run="run-1", owner="o", bundle="b", cells=[wire.Cell("dense/csr/1", "dense", "csr", 1)],
    files={"dense": wire.Files("a" * 64, None, "b" * 64, "c" * 64)}, runtime="r", runtime_version="1",
    delegate=wire.Delegate("d" * 64, {"isa": "neon"}),
)  # fmt: skip
MESSAGES: list[dict[str, Any]] = [
    wire.hello("test"),
    {"type": "status"},
    {"type": "submit", "spec": SPEC.to_message(), "wait": True},
    {"type": "follow", "run": "run-1", "have": 0},
    {"type": "cancel", "run": "run-1"},
    {"type": "logs", "lines": 3},
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every place in a JSON value: its container and key."""
    keys = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [each for key, inner in keys for each in [(value, key), *places(inner)]]


def spoiled(message: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """The message with one to three values replaced, removed or put twice."""
    message = copy.deepcopy(message)
    for _ in range(chance.randint(1, 3)):
        container, key = chance.choice(places(message) or [(message, "type")])
        what = chance.randint(0, 3)
        if what == 0 and isinstance(container, dict):
            container.pop(key, None)
        elif what == 1 and isinstance(container, dict):
            container["".join(chance.choices(string.printable, k=5))] = copy.deepcopy(chance.choice(ODD))
        else:
            container[key] = copy.deepcopy(chance.choice(ODD))
    return message


@pytest.mark.parametrize("seed", range(300))
def test_a_spoiled_spec_is_a_spec_or_refused(seed: int) -> None:
    try:
        spec = wire.RunSpec.from_message(spoiled(SPEC.to_message(), random.Random(seed)))
    except wire.WireError:
        return
    again = wire.RunSpec.from_message(json.loads(json.dumps(spec.to_message())))
    assert again == spec
    assert "/" not in spec.run
    assert all(len(name) == 64 and set(name) <= set("0123456789abcdef") for name in spec.objects())


@settings(max_examples=200, deadline=None)
@given(JSON)
def test_anything_else_is_refused(value: Any) -> None:
    try:
        wire.RunSpec.from_message(value)
    except wire.WireError:
        return
    raise AssertionError("it was taken for a spec")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_a_line_of_bytes_is_a_message_or_refused(line: bytes) -> None:
    try:
        message = wire.decode(line)
    except wire.WireError:
        return
    assert isinstance(message["type"], str)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_storm_of_them_leaves_the_agent_as_it_was(agent: Agent, seed: int) -> None:
    chance, process = random.Random(seed), psutil.Process(agent.pid)
    descriptors = process.num_fds()
    for number in range(60):
        client = agent.connect(greet=number % 3 > 0)
        kind = number % 4
        if kind == 0:
            line = chance.randbytes(chance.randint(1, 5000)) + b"\n"
        elif kind == 1:
            line = wire.encode(wire.hello("test"))[: chance.randint(1, 40)]  # half a line, then gone
        else:
            line = json.dumps(spoiled(chance.choice(MESSAGES), chance)).encode() + b"\n"
        client.say_raw(line)
        assert client.process.stdin is not None
        client.process.stdin.close()
        client.process.stdin = None  # as communicate() would have it
        answers = list(iter(client.read, {}))  # it hangs up in the end
        assert all(isinstance(answer["type"], str) for answer in answers)
        if kind == 0:
            assert answers[-1]["type"] == "error"
        client.process.kill()
        client.process.wait()
    log = agent.connect().ask({"type": "logs", "lines": 500})["lines"]
    assert not [line for line in log if "Traceback" in line or "never retrieved" in line], log
    agent.clients[-1].close()
    assert agent.connect().ask({"type": "status"})["state"] == "idle"
    assert process.num_fds() <= descriptors + 4
    assert process.memory_info().rss < 60e6
    outside = {path.name for path in agent.home.parent.iterdir()}
    assert outside == {agent.home.name}
