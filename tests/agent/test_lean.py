"""Checks of large files in little memory: what is given back, whose memory it is, and how a child's end is told."""

from __future__ import annotations

import asyncio
import mmap
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesparse import kernels
from edgesparse.agent import lean, worker
from edgesparse.agent.process import WorkerFailed, WorkerProcess
from tests.agent.test_worker import message
from tests.tiny import TinyFiles


def resident_bytes(path: Path) -> int:
    """Of a mapped file, in this process."""
    found = Path("/proc/self/smaps").read_text().split(f"{path}\n")[1]
    line = next(line for line in found.splitlines() if line.startswith("Rss:"))
    return int(line.split()[1]) * 1024


def test_what_is_read_of_a_file_is_given_back_once_and_all_the_time(tmp_path: Path) -> None:
    path = tmp_path / "model with a space.tflite"
    path.write_bytes(os.urandom(1 << 22))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        kept = bytes(content)
        assert resident_bytes(path) == 1 << 22
        lean.give_back(str(path))
        assert resident_bytes(path) == 0
        with lean.kept_out_of_memory(str(path)):
            assert bytes(content) == kept  # it comes back from the file
            for _ in range(400):
                if not resident_bytes(path):
                    break
                time.sleep(0.01)
        assert resident_bytes(path) == 0


def test_a_file_stays_out_of_memory_while_pythons_lock_is_held(tmp_path: Path) -> None:
    """As it is when a runtime packs weights: `find` holds it, too."""
    size, path = 1 << 27, tmp_path / "model.tflite"
    with path.open("wb") as file:
        file.truncate(size)
    code = "\n".join([
        "import mmap, sys",
        "from pathlib import Path",
        "from edgesparse.agent import lean",
        "def most():",
        "    return int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0]) * 1024",
        "with open(sys.argv[1], 'rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:",
        "    with lean.kept_out_of_memory(*sys.argv[1:]):",
        "        before = most()",
        "        assert content.find(b'a') == -1",
        "        print(most() - before)",
    ])  # fmt: skip
    grown = [
        int(subprocess.run([sys.executable, "-c", code, str(path), *more], capture_output=True, check=True).stdout)
        for more in ([str(kernels.library_path())], [])
    ]
    assert grown[0] < size / 2 < grown[1]


@pytest.mark.parametrize("content", [None, b"no library", b""])
def test_kernels_that_are_older_or_do_not_load_are_done_without(content: bytes | None, tmp_path: Path) -> None:
    path, library = tmp_path / "model.tflite", tmp_path / "library.so"
    path.write_bytes(os.urandom(1 << 22))
    if content is None:
        subprocess.run(["gcc", "-shared", "-x", "c", "-o", str(library), "-"], input=b"int older;", check=True)
    else:
        library.write_bytes(content)
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        lean.kept_out_of_memory(str(path), str(library)),
    ):
        assert len(bytes(mapped)) == 1 << 22
        for _ in range(400):
            if not resident_bytes(path):
                break
            time.sleep(0.01)
        assert resident_bytes(path) == 0


def test_nothing_is_given_back_after_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file was, something else may lie then."""
    path = tmp_path / "model.tflite"
    path.write_bytes(os.urandom(1 << 22))
    ended = threading.Event()

    def in_c(start: Any, size: Any, pause_ns: Any, begun: Any, told: Any) -> None:
        while not told._obj.value:
            ended.wait(0.001)
        ended.set()

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(time, "sleep", interrupted)
        patched.setattr(lean, "_in_c", lambda library: in_c)
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ),
            lean.kept_out_of_memory(str(path), "library"),
        ):
            raise AssertionError("it has not begun")
    assert ended.is_set()


@pytest.mark.parametrize("end", [signal.SIGSEGV, signal.SIGKILL, 3])
def test_what_ends_the_child_ends_its_parent(end: int) -> None:
    code = "\n".join([
        "import os, sys",
        "from edgesparse.agent.lean import in_child",
        "def dies():",
        f"    os._exit(3) if {end} == 3 else os.kill(os.getpid(), {int(end)})",
        "in_child(dies, lambda parent: None)",
        "print('lives')",
    ])  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("", 3 if end == 3 else -end)


def test_what_xnnpack_gave_is_remembered_for_its_own_file_and_inputs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def load(message: dict[str, Any], known: Any) -> worker.Loaded:
        asked.append(known("xnnpack") is not None)
        assert known("builtin") is None
        return worker.Loaded(None, [np.zeros(3)], {"type": "loaded"})  # type: ignore[arg-type]

    monkeypatch.setattr(worker, "load", load)
    monkeypatch.setattr(worker, "in_child", lambda work, end_with: work())
    loads = worker._Lean()
    for model, inputs, backend, weights, known in (
        ("a", "one", "xnnpack", "quantised", False),
        ("a", "one", "csr", "quantised", True),
        ("a", "two", "csr", "quantised", False),
        ("b", "one", "csr", "quantised", False),
        ("b", "one", "xnnpack", "floats", False),
        ("b", "one", "csr", "floats", False),
        ("b", "one", "xnnpack", "quantised", False),
        ("a", "one", "csr", "quantised", False),
        ("b", "one", "csr", "quantised", True),
    ):
        of = {"runtime": "ai-edge-litert", "model": model, "inputs": inputs, "backend": backend}
        loads.load({**of, "lean": {"weights": weights}})
        assert asked.pop() is known


def test_a_lean_load_keeps_no_model_and_runs_nothing_twice(tiny_files: TinyFiles, tmp_path: Path) -> None:
    """The weights of a dense model are nothing for the kernels: csr alone is the built-in kernels' own run."""
    library = str(kernels.library_path())
    load: dict[str, Any] = {
        **message(tmp_path, model=tiny_files["dense"], inputs=tiny_files["inputs"], golden=tiny_files["golden"]),
        "backend": "csr", "report": str(tmp_path / "report.json"), "delegate": {"library": library, "options": {}},
        "lean": {"weights": "floats", "alone": True, "kernels": library, "rest_known": False},
    }  # fmt: skip

    async def ask() -> None:
        async with WorkerProcess([sys.executable, "-m", "edgesparse.agent", "worker"], 60.0) as worker:
            assert await worker.ask({"type": "prepare", "runtime": load["runtime"]}) == {"type": "prepared"}
            ran = await worker.ask(load)
            assert "max_abs_error" in ran["parity"]
            known = {**load, "lean": {**load["lean"], "rest_known": True}}
            assert (await worker.ask(known))["parity"] is None
            with pytest.raises(WorkerFailed, match="a worker cannot 'measure' now"):
                await worker.ask({"type": "measure", "samples": 5, "launch_s": 0.0, "warmup_s": 0.0})
            with pytest.raises(WorkerFailed, match="no runtime is called 'tvm'") as refused:
                await worker.ask({**load, "runtime": "tvm"})
            assert refused.value.kind == "unsupported"

    asyncio.run(ask())
