"""The agent's life under every Python that a board may have, where it is found here: the host's own is only one of
them."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.agent.conftest import Agent
from tests.tiny import TinyFiles


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """A directory with psutil alone, whose compiled part serves every Python 3."""
    path = tmp_path / "modules"
    path.mkdir()
    (path / "psutil").symlink_to(Path(psutil.__file__).parent)
    return path


@pytest.fixture(params=[9, 10, 11, 12, 13])
def python(request: pytest.FixtureRequest, modules: Path) -> str:
    """The newest Python of a minor version that runs the agent."""
    minor: int = request.param
    found = [*sorted(Path("~/.pyenv/versions").expanduser().glob(f"3.{minor}.*/bin/python"), reverse=True)]
    found += [Path(path) for path in [shutil.which(f"python3.{minor}")] if path]
    code = "import psutil, sys; print(sys.version_info[1])"
    environment = {**os.environ, "PYTHONPATH": str(modules)}
    for path in map(str, found):
        done = subprocess.run([path, "-c", code], capture_output=True, text=True, check=False, env=environment)
        if done.stdout.strip() == str(minor):
            return path
    pytest.skip(f"no Python 3.{minor} here")


@pytest.fixture
def others_measurement() -> Iterator[None]:
    """A measurement of another user, so that runs stay in line and need no runtime."""
    descriptor = os.open(os.environ["EDGESPARSE_LOCK"], os.O_RDONLY | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield
    os.close(descriptor)


@pytest.mark.usefixtures("others_measurement")
def test_it_ends_while_clients_are_connected(python: str, modules: Path, tmp_path: Path, tiny_files: TinyFiles) -> None:
    agent = Agent(tmp_path / "home", tiny_files, python)
    try:
        assert agent.start(pythonpath=str(modules))["state"] == "started"
        follower, silent, other = agent.connect(), agent.connect(greet=False), agent.connect()
        process = psutil.Process(follower.hello["pid"])
        run = agent.submit(follower).run
        follower.say({"type": "follow", "run": run, "have": 0})
        assert follower.read()["type"] == "place"

        assert other.ask({"type": "stop", "force": False})["code"] == "busy"
        assert other.ask({"type": "stop", "force": True})["type"] == "stopping"
        assert psutil.wait_procs([process], timeout=60)[1] == []
        told = list(iter(follower.read, {}))
        assert (told[-1]["type"], told[-1]["status"]) == ("end", "cancelled")
        assert (silent.read(), other.read()) == ({}, {})

        assert agent.start(pythonpath=str(modules))["state"] == "started"
        process = psutil.Process(agent.connect().hello["pid"])
        process.send_signal(signal.SIGTERM)
        assert psutil.wait_procs([process], timeout=60)[1] == []
        assert "Traceback" not in (agent.home / "agent.log").read_text()
    finally:
        agent.kill()
