"""What reading beside a run costs: latency of a worker while another process reads a board's sensors and looks at this
machine's conditions once a second, over that of the same worker while nobody does; and the share of a core that reading
takes.

    python -m tests.bench_sampling build/demo/bundle [repetitions]

One worker, slices of half a second in turn with and without. The sensors are an Orin Nano's files: first renewed ten
times a second, which is the rate at which they are then read, and then as often as their chip could at most, which no
reader on a budget keeps up with. Prints one JSON document. The exit status is 1 where reading takes more than MOST of a
core, where the latency beside it is longer by more than MOST for sure, or where the slow sensors are not read at
their rate.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from edgesparse import stats
from edgesparse.convert.bundle import read_bundle
from tests.agent.sensors import trees

WORKER = """
import sys, time, numpy as np
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(model_path=sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.load(sys.argv[2])["0"][0])
for line in sys.stdin:
    end, taken = time.perf_counter() + float(line), []
    while time.perf_counter() < end:
        started = time.perf_counter_ns()
        interpreter.invoke()
        taken.append(time.perf_counter_ns() - started)
    print(sorted(taken)[len(taken) // 2] / 1e6, flush=True)
"""

READER = """
import sys
from pathlib import Path
from edgesparse.agent.conditions import LiveConditions
from edgesparse.agent.sampling import ConditionsSampler, start_sampling
from edgesparse.agent.sensors import find_sources
(sampler,) = start_sampling(find_sources(Path(sys.argv[1])))
conditions = ConditionsSampler(LiveConditions().read)
print("reads", flush=True)
sys.stdin.read()
print(1 / sampler.rate.update_s, 1 / sampler.rate.period_s, len(conditions.take()), flush=True)
"""

# Renews the files in place, as a chip does its registers.
RENEWER = """
import itertools, os, sys, time
files = [os.open(path, os.O_WRONLY) for path in sys.argv[2:]]
next_s = time.monotonic()
for number in itertools.count():
    for file in files:
        os.pwrite(file, b"%d\\n" % (1000 + number % 7), 0)
    next_s += 1 / float(sys.argv[1])
    time.sleep(max(0.0, next_s - time.monotonic()))
"""
RENEWED_HZ = 10.0

SLICE_S = 0.5
MOST = 0.01


def main(bundle_path: str = "build/demo/bundle", repetitions: str = "40") -> int:
    """Print ratios, their intervals, and shares; 1 where they are not as they should be."""
    bundle = read_bundle(Path(bundle_path))
    files = [str(bundle.file(bundle.variant("dense").file)), str(bundle.file(bundle.manifest.inputs))]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with (
        tempfile.TemporaryDirectory() as root,
        subprocess.Popen([sys.executable, "-c", WORKER, *files], **pipes) as worker,
    ):
        monitor = trees.jetson_orin_nano(Path(root))
        registers = [str(path) for kind in ("in", "curr") for path in sorted(monitor.glob(f"{kind}[123]_input"))]
        renewer = subprocess.Popen([sys.executable, "-c", RENEWER, str(RENEWED_HZ), *registers])
        try:
            slow = _compared(worker, root, int(repetitions))
        finally:
            renewer.kill()
            renewer.wait()
        found = [slow, _compared(worker, root, int(repetitions))]
        if worker.stdin:
            worker.stdin.close()
    print(json.dumps(found, indent=2))
    at_its_rate = slow["read_hz"] > 0.9 * RENEWED_HZ
    costs = [each["share_of_a_core"] > MOST or (each["interval"] or [0])[0] > 1 + MOST for each in found]
    return int(any(costs) or not at_its_rate)


def _compared(worker: Any, root: str, repetitions: int) -> dict[str, Any]:
    """What reading the sensors below a root costs, which goes on as long as this."""
    with subprocess.Popen(
        [sys.executable, "-c", READER, root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdin and reader.stdout
        reader.stdout.readline()
        process = psutil.Process(reader.pid)

        def latency_ms() -> float:
            worker.stdin.write(f"{SLICE_S}\n")
            worker.stdin.flush()
            return float(worker.stdout.readline())

        latency_ms()
        alone, beside = {}, {}
        reading_s = spent_s = 0.0
        for number in range(repetitions):
            for reads in (True, False) if number % 2 else (False, True):
                if not reads:
                    process.suspend()
                    alone[number] = latency_ms()
                    process.resume()
                    continue
                before, began_s = process.cpu_times(), time.monotonic()
                beside[number] = latency_ms()
                after = process.cpu_times()
                reading_s += time.monotonic() - began_s
                spent_s += after.user + after.system - before.user - before.system
        reader.stdin.close()
        renewed_hz, read_hz, looks = (float(each) for each in reader.stdout.readline().split())
    ratio = stats.compare(beside, alone)
    return {
        "repetitions": len(alone), "renewed_hz": renewed_hz, "read_hz": read_hz, "conditions_looks": int(looks),
        "alone_ms": median(alone.values()), "beside_reading_ms": median(beside.values()), "ratio": ratio.value,
        "interval": ratio.interval, "share_of_a_core": spent_s / reading_s,
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
