"""The runtimes, each in a process of its own that a crash takes down alone, and the delegate's library."""

from __future__ import annotations

import itertools
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesparse.agent.backends import RUNTIMES
from edgesparse.kernels import library_path

_AVX2 = {"avx2", "fma", "f16c"}
_AVX512 = {"avx512f", "avx512bw", "avx512vl", "avx512dq"}
ISAS = {
    "x86_64": {"scalar": set[str](), "avx2": _AVX2, "avxvnni": {*_AVX2, "avx_vnni"}, "avx512": _AVX512,
               "avx512vnni": {*_AVX512, "avx512_vnni"}},
    "aarch64": {"scalar": set[str](), "neon": {"asimd"}, "neondot": {"asimddp"}},
    "armv7l": {"scalar": set[str](), "neon": {"neon", "vfpv4"}},
}.get(platform.machine(), {"scalar": set[str]()})  # fmt: skip


def usable_isas() -> list[str]:
    """The instruction sets of the kernels that this CPU has, by what the kernel says of it."""
    flags: set[str] = set()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("flags", "Features")):
            flags |= set(line.partition(":")[2].split())
    return [name for name, needed in ISAS.items() if needed <= flags]


class Runtime:
    """One runtime's process; started when it is first asked, and again after a crash."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder, self.numbers = name, folder, itertools.count()
        self.process: subprocess.Popen[bytes] | None = None

    def ask(self, do: str, **job: Any) -> dict[str, Any]:
        """One job; the answer, or a failed test when the process died of it."""
        process = self.process or self._start()
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps({"do": do, **job}).encode() + b"\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            code = process.wait()
            self.process = None
            raise AssertionError(f"{self.name} died of {do} (exit status {code}): {self._said()}")
        return dict(json.loads(line))

    def _start(self) -> subprocess.Popen[bytes]:
        with (self.folder / "stderr").open("ab") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.kernels.probe", self.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=stderr, cwd=Path(__file__).parents[2], env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
            )  # fmt: skip
        assert self.process.stdout is not None
        hello = self.process.stdout.readline()
        assert hello, f"{self.name} does not start: {self._said()}"
        return self.process

    def _said(self) -> str:
        return (self.folder / "stderr").read_text(errors="replace")[-2000:]

    def close(self) -> None:
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
            self.process.wait()

    # -- what tests ask for ------------------------------------------------------------------------------------------

    def outputs(self, do: str, model: bytes, samples: list[Any], **job: Any) -> list[Any]:
        """The outputs of every inference, flat; raises what the runtime said where it refuses."""
        number = next(self.numbers)
        paths = {name: str(self.folder / f"{number}-{name}") for name in ("model.tflite", "inputs.npz", "outputs.npz")}
        Path(paths["model.tflite"]).write_bytes(model)
        np.savez(paths["inputs.npz"], **{str(n): each for n, each in enumerate(samples)})
        answer = self.ask(
            do, model=paths["model.tflite"], inputs=paths["inputs.npz"], outputs=paths["outputs.npz"], **job
        )
        if "error" in answer:
            raise RuntimeError(answer["error"])
        self.answer = answer
        if not Path(paths["outputs.npz"]).exists():
            return []
        with np.load(paths["outputs.npz"]) as archive:
            return [archive[str(n)] for n in range(len(archive.files))]

    def csr(
        self, model: bytes, samples: list[Any], options: dict[str, Any], do: str = "run", **job: Any
    ) -> tuple[list[Any], dict[str, Any]]:
        """The outputs through the delegate, and its report."""
        report = self.folder / f"report-{next(self.numbers)}.json"
        options = {**options, "report": str(report)}
        found = self.outputs(do, model, samples, library=str(library_path()), options=options, **job)
        return found, json.loads(report.read_text())


@pytest.fixture(scope="session")
def every_runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Runtime]]:
    found = {name: Runtime(name, tmp_path_factory.mktemp(name)) for name in RUNTIMES}
    yield found
    for runtime in found.values():
        runtime.close()


@pytest.fixture(params=list(RUNTIMES))
def runtime(request: pytest.FixtureRequest, every_runtime: dict[str, Runtime]) -> Runtime:
    """Each of the three runtimes."""
    if find_spec(RUNTIMES[request.param].partition(".")[0]) is None:
        pytest.skip(f"{request.param} has no wheel for this Python")
    return every_runtime[request.param]


@pytest.fixture
def litert(every_runtime: dict[str, Runtime]) -> Runtime:
    """One runtime, for what does not depend on it."""
    return every_runtime["ai-edge-litert"]


@pytest.fixture(params=[*ISAS])
def isa(request: pytest.FixtureRequest) -> str:
    """Each instruction set of the kernels that this CPU has."""
    if request.param not in usable_isas():
        pytest.skip(f"this CPU has no {request.param}")
    return str(request.param)
