"""Other runtimes on the same networks: onnxruntime and OpenVINO beside csr and XNNPACK, one process, in turns.

python -m kernels.bench.peers --model mobilenetv2-224 --variant unstructured-80
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgesparse.errors import EdgesparseError
from kernels.bench import table
from kernels.bench.document import Document, documented, print_json
from kernels.bench.files import fail, find_delegate, run_program, say
from kernels.bench.modes import Request, in_own_process
from kernels.bench.options import add_selection, add_setting, new_parser, setting_of
from kernels.bench.peers_env import peers_python
from kernels.bench.rows import passed
from kernels.bench.suite import MODELS, summary

VARIANTS = ("unstructured-80", "block-16x1-80")
WORKER = "kernels.bench.peers_worker"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print; the exit code says whether every cell passed."""
    made = new_parser("peers", __doc__)
    add_selection(made)
    add_setting(made, rounds=50, min_time=3.0, max_time=60.0)
    options = made.parse_args(arguments)
    try:
        delegate = find_delegate(Path(options.delegate) if options.delegate else None)
        document = documented("peers", delegate, lambda document: measure_all(document, options))
    except EdgesparseError as error:
        return fail(error)
    if options.json:
        print_json(document)
    else:
        print("\n".join(summary(document)))
    return 0 if all(passed(row) for row in document["models"]) else 1


def measure_all(document: Document, options: argparse.Namespace) -> None:
    """Put a row for every model and variant into the document."""
    python = peers_python()
    setting = setting_of(options)
    setting = replace(setting, claims=tuple(options.claim or ("auto",)))
    document["models"] = []
    for network, variant in itertools.product(options.model or MODELS, options.variant or VARIANTS):
        request = Request(network, variant, "peers", options.seed, options.weights, setting).with_files()
        say(str(request.spec))
        row = in_own_process(request, python, WORKER)
        document["models"].append(row)
        if not options.json:
            print("\n".join(table.row_lines(row)), flush=True)


if __name__ == "__main__":
    sys.exit(run_program(main))
