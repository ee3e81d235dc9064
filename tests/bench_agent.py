"""What measuring costs: latency as the agent reports it over that of a bare loop around `invoke()` in the same runtime.

    python -m tests.bench_agent build/demo/bundle [repetitions]

Both run in fresh processes, in turn; every repetition gives one ratio of medians. Prints one JSON document.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from edgesparse import bench
from edgesparse.convert.bundle import read_bundle

BARE_LOOP = """
import sys, time, numpy as np
from ai_edge_litert.interpreter import Interpreter
model, inputs, samples = sys.argv[1], np.load(sys.argv[2])["0"], int(sys.argv[3])
interpreter = Interpreter(model_path=model, num_threads=1)
interpreter.allocate_tensors()
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], inputs[0])
end = time.perf_counter() + 0.2
while time.perf_counter() < end:
    interpreter.invoke()
taken = []
for _ in range(samples):
    started = time.perf_counter_ns()
    interpreter.invoke()
    taken.append(time.perf_counter_ns() - started)
print(sorted(taken)[len(taken) // 2] / 1e6)
"""

SAMPLES = 300


def main(bundle_path: str = "build/demo/bundle", repetitions: str = "15") -> None:
    """Print the ratio."""
    bundle = read_bundle(Path(bundle_path))
    dense = bundle.variant("dense")
    arguments = [str(bundle.file(dense.file)), str(bundle.file(bundle.manifest.inputs)), str(SAMPLES)]
    bare_ms: list[float] = []
    agent_ms: list[float] = []

    def bare() -> None:
        done = subprocess.run([sys.executable, "-c", BARE_LOOP, *arguments], capture_output=True, text=True, check=True)
        bare_ms.append(float(done.stdout))

    def agent() -> None:
        run = bench(
            bundle, "local", variants=["dense"], backends=["xnnpack"], threads=[1], rounds=(1, 1), samples=SAMPLES
        )
        (row,) = run.comparison().variants[0].backends
        agent_ms.append(median(row.samples_ms))

    with tempfile.TemporaryDirectory() as own:
        os.environ.update(EDGESPARSE_DATA=f"{own}/data", EDGESPARSE_HOME=f"{own}/board")
        for number in range(int(repetitions)):
            for step in (bare, agent) if number % 2 else (agent, bare):
                step()
            ratio = agent_ms[-1] / bare_ms[-1]
            print(
                f"{number + 1}: bare {bare_ms[-1]:.4f} ms, agent {agent_ms[-1]:.4f} ms, ratio {ratio:.3f}",
                file=sys.stderr,
            )
        subprocess.run([sys.executable, "-m", "edgesparse.cli", "agent", "stop"], check=True)
    ratios = sorted(one / other for one, other in zip(agent_ms, bare_ms, strict=True))
    document = {"repetitions": len(ratios), "bare_ms": median(bare_ms), "agent_ms": median(agent_ms),
                "ratio": median(ratios), "ratios": ratios}  # fmt: skip
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:])
