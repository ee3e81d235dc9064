"""What reading beside a run costs: latency of a worker while another process reads a board's sensors at their rate and
looks at this machine's conditions once a second, over that of the same worker while nobody does; and the share of a
core that reading takes.

    python -m tests.bench_sampling build/demo/bundle [repetitions]

One worker, slices of half a second in turn with and without; the sensors are an Orin Nano's files. Prints one JSON
document. The exit status is 1 where reading takes more than MOST of a core, or where the latency beside it is longer by
more than MOST for sure.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

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

SLICE_S = 0.5
MOST = 0.01


def main(bundle_path: str = "build/demo/bundle", repetitions: str = "40") -> int:
    """Print the ratio, its interval, and the share; 1 where they are more than they may be."""
    bundle = read_bundle(Path(bundle_path))
    files = [str(bundle.file(bundle.variant("dense").file)), str(bundle.file(bundle.manifest.inputs))]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with (
        tempfile.TemporaryDirectory() as root,
        subprocess.Popen([sys.executable, "-c", WORKER, *files], **pipes) as worker,  # type: ignore[call-overload]
    ):
        trees.jetson_orin_nano(Path(root))
        with subprocess.Popen([sys.executable, "-c", READER, root], **pipes) as reader:  # type: ignore[call-overload]
            reader.stdout.readline()
            process = psutil.Process(reader.pid)

            def latency_ms() -> float:
                worker.stdin.write(f"{SLICE_S}\n")
                worker.stdin.flush()
                return float(worker.stdout.readline())

            latency_ms()
            alone, beside = {}, {}
            reading_s = spent_s = 0.0
            for number in range(int(repetitions)):
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
        worker.stdin.close()
    ratio = stats.compare(beside, alone)
    share = spent_s / reading_s
    document = {
        "repetitions": len(alone), "renewed_hz": renewed_hz, "read_hz": read_hz, "conditions_looks": int(looks),
        "alone_ms": median(alone.values()), "beside_reading_ms": median(beside.values()), "ratio": ratio.value,
        "interval": ratio.interval, "share_of_a_core": share,
    }  # fmt: skip
    print(json.dumps(document, indent=2))
    longer = ratio.interval is not None and ratio.interval[0] > 1 + MOST
    return int(share > MOST or longer)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
