"""Who may measure: turns, refusals, runs that nobody follows."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Any

from tests.agent.conftest import Agent, Client

ENDLESS = {"max_rounds": 1000, "min_rounds": 1000}


def status(agent: Agent) -> dict[str, Any]:
    return agent.connect().ask({"type": "status"})


def wait_for_state(agent: Agent, state: str, within_s: float = 120) -> dict[str, Any]:
    deadline = time.monotonic() + within_s
    while (found := status(agent))["state"] != state:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return found


def submit(client: Client, spec: Any, wait: bool = True) -> dict[str, Any]:
    return client.ask({"type": "submit", "spec": spec.to_message(), "wait": wait})


def test_owners_take_turns(agent: Agent) -> None:
    client = agent.connect()
    running = agent.submit(client, owner="ada@lab", **ENDLESS)
    for owner in ("ada@lab", "ada@lab", "bob@lab"):
        submit(client, agent.spec(owner=owner, max_rounds=0))
    assert [entry["owner"] for entry in status(agent)["queue"]] == ["ada@lab", "bob@lab", "ada@lab", "ada@lab"]
    client.ask({"type": "cancel", "run": running.run})


def test_whoever_would_not_wait_is_told_who_measures_and_how_long(agent: Agent) -> None:
    client = agent.connect()
    running = agent.submit(client, owner="ada@lab", time_limit_s=100, **ENDLESS)
    impatient = agent.spec(owner="bob@lab")
    answer = submit(agent.connect(), impatient, wait=False)
    assert (answer["type"], answer["code"]) == ("error", "busy")
    assert f"measuring run {running.run} of ada@lab" in answer["message"]
    assert "0 more wait" in answer["message"]
    assert not (agent.home / "runs" / impatient.run).exists()
    assert 0 < status(agent)["queue"][0]["remaining_s"] <= 107
    client.ask({"type": "cancel", "run": running.run})
    assert submit(agent.connect(), impatient, wait=False)["place"] == 0


def test_a_run_that_nobody_follows_leaves_the_board_after_its_time(agent: Agent) -> None:
    gone = agent.connect()
    started = time.monotonic()
    measured = agent.submit(gone, linger_s=3, **ENDLESS)
    waiting = agent.submit(gone, linger_s=2, **ENDLESS)
    gone.close()
    wait_for_state(agent, "idle")
    assert time.monotonic() - started > 2
    for run, reason in ((measured.run, "for 3 s"), (waiting.run, "for 2 s while it waited")):
        last = agent.connect().records(run)[-1]
        assert last["status"] == "cancelled"
        assert last["reason"] == f"cancelled because nobody had followed it {reason}"


def test_a_run_that_is_followed_stays_and_so_does_one_that_is_picked_up_in_time(agent: Agent) -> None:
    first, follower, again = (agent.connect() for _ in range(3))  # before the time runs: each is a Python that starts
    run = agent.submit(first, linger_s=3, **ENDLESS).run
    follower.say({"type": "follow", "run": run, "have": 0})
    time.sleep(3.5)
    assert status(agent)["queue"][0]["followers"] == 1
    follower.close()
    again.say({"type": "follow", "run": run, "have": 0})
    time.sleep(3.5)
    assert status(agent)["state"] == "measuring"
    again.close()
    wait_for_state(agent, "idle")


def test_another_users_agent_on_the_machine_is_waited_for(agent: Agent) -> None:
    path = Path(os.environ["EDGESPARSE_LOCK"])
    descriptor = os.open(path, os.O_RDONLY | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    client = agent.connect()
    refused = submit(agent.connect(), agent.spec(), wait=False)
    assert "is measuring on this machine" in refused["message"]
    spec = agent.submit(client, max_rounds=0)
    found = wait_for_state(agent, "waiting")
    assert f"(process {os.getpid()})" in found["held_by"]
    client.say({"type": "follow", "run": spec.run, "have": 0})
    assert client.read()["held_by"] == found["held_by"]
    os.close(descriptor)
    messages = iter(client.read, {})
    assert next(message for message in messages if message["type"] == "end")["status"] == "finished"
    assert status(agent)["held_by"] is None


def test_a_pipe_in_the_place_of_the_lock_stops_no_agent(agent: Agent) -> None:
    os.mkfifo(os.environ["EDGESPARSE_LOCK"])
    client = agent.connect()
    run = agent.submit(client, max_rounds=0).run
    assert client.records(run)[-1]["status"] == "finished"
    lines = client.ask({"type": "logs", "lines": 20})["lines"]
    assert any("measuring without the machine's lock" in line for line in lines)


def test_the_lock_of_the_machine_goes_with_the_agent(agent: Agent) -> None:
    agent.submit(agent.connect(), **ENDLESS)
    agent.worker()
    agent.kill()
    descriptor = os.open(os.environ["EDGESPARSE_LOCK"], os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises where a worker has inherited it
    os.close(descriptor)
