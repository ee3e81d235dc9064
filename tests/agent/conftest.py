"""A real agent, from its zipapp, in a home of its own, with a tiny model in its store."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from edgesparse import wire
from edgesparse.zipapp import agent_zipapp
from tests.tiny import TinyFiles


class Client:
    """A raw conversation with the agent: what the host sends and gets, nothing hidden."""

    def __init__(self, agent: Agent) -> None:
        command = [sys.executable, str(agent.zipapp), "connect", "--home", str(agent.home)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.hello = self.read()

    def say(self, message: wire.Message) -> None:
        self.say_raw(wire.encode(message))

    def say_raw(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def read(self) -> wire.Message:
        """The next message; {} once the agent has hung up."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return wire.decode(line) if line else {}

    def ask(self, message: wire.Message) -> wire.Message:
        self.say(message)
        return self.read()

    def follow(self, run: str, have: int = 0) -> Iterator[wire.Message]:
        self.say({"type": "follow", "run": run, "have": have})
        while (message := self.read()) and message["type"] != "end":
            if message["type"] == "ping":
                self.say({"type": "pong"})
            else:
                yield message
        yield message

    def records(self, run: str, have: int = 0) -> list[dict[str, Any]]:
        return [message["record"] for message in self.follow(run, have) if message["type"] == "record"]

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


class Agent:
    """An agent's home and the daemon that serves it, under `python`."""

    def __init__(self, home: Path, files: TinyFiles, python: str = sys.executable) -> None:
        self.home, self.python = home, python
        data, sha256 = agent_zipapp()
        self.zipapp = home / "agent" / f"{sha256}.pyz"
        for directory in ("agent", "objects"):
            (home / directory).mkdir(parents=True)
        self.zipapp.write_bytes(data)
        self.objects = {name: self.keep(data) for name, data in files.items()}
        self.clients: list[Client] = []
        self.runs = 0

    def keep(self, data: bytes) -> str:
        name = hashlib.sha256(data).hexdigest()
        (self.home / "objects" / name).write_bytes(data)
        return name

    def start(self, *arguments: str, pythonpath: str = "") -> dict[str, Any]:
        return self.control("start", *arguments, pythonpath=pythonpath)

    def control(self, *arguments: str, pythonpath: str = "") -> dict[str, Any]:
        """Have the agent's own program do something beside the daemon."""
        command = [self.python, str(self.zipapp), *arguments, "--home", str(self.home)]
        done = subprocess.run(command, capture_output=True, check=True, env={**os.environ, "PYTHONPATH": pythonpath})
        return dict(json.loads(done.stdout))

    @property
    def pid(self) -> int:
        with contextlib.closing(self.connect(greet=False)) as client:
            return int(client.hello["pid"])

    def connect(self, greet: bool = True) -> Client:
        client = Client(self)
        if greet:
            client.say(wire.hello("test"))
        self.clients.append(client)
        return client

    def spec(self, **change: Any) -> wire.RunSpec:
        """A short run of dense and sparse under both backends."""
        self.runs += 1
        files = {
            "dense": wire.Files(self.objects["dense"], None, self.objects["inputs"], self.objects["golden"]),
            "sparse": wire.Files(
                self.objects["sparse"], self.objects["dense"], self.objects["inputs"], self.objects["golden"]
            ),
        }
        cells = [wire.Cell(f"{v}/{b}/1", v, b, 1) for b in ("builtin", "xnnpack") for v in files]
        values: dict[str, Any] = {
            "run": f"run-{self.runs}", "owner": "test", "bundle": "b" * 64, "cells": cells, "files": files,
            "runtime": "ai-edge-litert", "runtime_version": "any", "min_rounds": 2, "max_rounds": 2, "samples": 10,
            "launch_s": 0.2, "warmup_s": 0.01,
        }  # fmt: skip
        return wire.RunSpec(**{**values, **change})

    def submit(self, client: Client, **change: Any) -> wire.RunSpec:
        spec = self.spec(**change)
        answer = client.ask({"type": "submit", "spec": spec.to_message()})
        assert answer["type"] == "accepted", answer
        return spec

    def worker(self, within_s: float = 120.0) -> psutil.Process:
        """The worker that runs now, or the next one."""
        daemon = psutil.Process(self.pid)
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            for child in daemon.children():
                with contextlib.suppress(psutil.Error):
                    if "worker" in child.cmdline():
                        return child
            time.sleep(0.005)
        raise AssertionError(f"no worker started within {within_s} s")

    def kill(self) -> None:
        for client in self.clients:
            client.close()
        killed = []
        for process in psutil.process_iter(["cmdline"]):
            if str(self.zipapp) in (process.info["cmdline"] or []):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGKILL)
                    killed.append(process)
        # A signal is not an end: locks and sockets are let go when the kernel has taken the process apart.
        assert not psutil.wait_procs(killed, timeout=60)[1]


@pytest.fixture
def agent(tmp_path: Path, tiny_files: TinyFiles) -> Iterator[Agent]:
    agent = Agent(tmp_path / "home", tiny_files)
    agent.start()
    watchdog = threading.Timer(240, agent.kill)
    watchdog.start()
    yield agent
    watchdog.cancel()
    agent.kill()
