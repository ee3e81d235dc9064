"""A process with one runtime in it: does what a test asks for over its stdin, one JSON object a line, and answers.

Every job makes its interpreters from `model`; with `library` through the delegate. Arrays travel as .npz files.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np

from edgesparse.agent.backends import load_runtime
from edgesparse.agent.worker import guarded_streams, load_arrays


class Probe:
    """One runtime."""

    def __init__(self, runtime: str) -> None:
        self.runtime, self.version = load_runtime(runtime)
        self.folder = Path()

    def interpreter(self, job: dict[str, Any]) -> Any:
        """An interpreter as the job asks for it, tensors not yet allocated."""
        more: dict[str, Any] = {}
        if job.get("library"):
            more["experimental_delegates"] = [self.runtime.load_delegate(job["library"], job.get("options") or {})]
        return self.runtime.Interpreter(model_path=job["model"], num_threads=job.get("threads", 1), **more)

    def outputs(self, interpreter: Any, sample: Any) -> list[Any]:
        """One inference."""
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], sample)
        interpreter.invoke()
        return [interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details()]

    # -- jobs --------------------------------------------------------------------------------------------------------

    def load(self, job: dict[str, Any]) -> dict[str, Any]:
        """Nothing but loading the delegate."""
        self.runtime.load_delegate(job["library"], job.get("options") or {})
        return {}

    def run(self, job: dict[str, Any]) -> dict[str, Any]:
        """Every sample, one after the other; `invocations` times the same."""
        interpreter = self.interpreter(job)
        interpreter.allocate_tensors()
        samples = load_arrays(job["inputs"])
        outputs = [self.outputs(interpreter, each) for each in samples for _ in range(job.get("invocations", 1))]
        return self.keep(job, outputs)

    def resize(self, job: dict[str, Any]) -> dict[str, Any]:
        """Every sample after resizing the input to its shape, in one interpreter."""
        interpreter = self.interpreter(job)
        outputs = []
        for sample in load_arrays(job["inputs"]):
            interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], sample.shape)
            interpreter.allocate_tensors()
            outputs.append(self.outputs(interpreter, sample))
        return self.keep(job, outputs)

    def together(self, job: dict[str, Any]) -> dict[str, Any]:
        """As many interpreters as `interpreters` says, alive together, each invoked by a thread of its own."""
        alive = [self.interpreter(job) for _ in range(job["interpreters"])]
        for interpreter in alive:
            interpreter.allocate_tensors()
        (sample,), outputs = load_arrays(job["inputs"]), [[] for _ in alive]  # type: ignore[var-annotated]

        def work(number: int) -> None:
            for _ in range(job.get("invocations", 1)):
                outputs[number].append(self.outputs(alive[number], sample))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(len(alive))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self.keep(job, [each for of_one in outputs for each in of_one])

    def lifecycle(self, job: dict[str, Any]) -> dict[str, Any]:
        """Make, run and delete an interpreter `times` times; how many threads and kilobytes that left behind."""
        (sample,) = load_arrays(job["inputs"])
        seen = []
        for _ in range(job["times"]):
            interpreter = self.interpreter(job)
            interpreter.allocate_tensors()
            self.outputs(interpreter, sample)
            del interpreter
            gc.collect()
            seen.append(self.usage())
        return {"threads": [each[0] for each in seen], "resident_kb": [each[1] for each in seen]}

    @staticmethod
    def usage() -> tuple[int, int]:
        """Threads of this process, and its resident kilobytes."""
        found = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return int(found["Threads"]), int(found["VmRSS"].split()[0])

    def keep(self, job: dict[str, Any], outputs: list[list[Any]]) -> dict[str, Any]:
        """The outputs of each inference, those of one joined end to end."""
        flat = [np.concatenate([np.ravel(each) for each in one]) for one in outputs]
        np.savez(job["outputs"], **{str(number): each for number, each in enumerate(flat)})
        return {"shapes": [[list(each.shape) for each in one] for one in outputs]}


def main() -> int:
    """Serve until stdin ends; whatever a runtime prints goes to stderr."""
    inward, outward = guarded_streams()
    probe = Probe(sys.argv[1])
    outward.write(json.dumps({"version": probe.version}).encode() + b"\n")
    for line in inward:
        job = json.loads(line)
        environment = job.get("environment", {})
        os.environ.update(environment)
        try:
            answer = getattr(probe, job["do"])(job)
        except Exception as error:  # whatever the runtime says is what the test looks at
            answer = {"error": str(error)}
        for name in environment:
            del os.environ[name]
        gc.collect()
        outward.write(json.dumps(answer).encode() + b"\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
