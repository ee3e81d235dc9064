"""Whole models: the csr backend against XNNPACK on dense and on sparse files, in one process, in turns.

python -m kernels.bench.models --model mobilenetv2-224 --pattern block-16x1 --sparsity 0.8
python -m kernels.bench.models --model mobilenetv1-224 --variant unstructured-80 --variant block-16x1-80 --claim auto
python -m kernels.bench.models --model mobilenetv1-224 --variant block-16x1-80 --scaling (or --memory, --overhead)
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from edgesparse.errors import EdgesparseError, UsageError
from edgesparse.networks import make_zeros, parse_variant
from kernels.bench import table
from kernels.bench.document import print_json
from kernels.bench.files import fail
from kernels.bench.modes import Request, in_own_process, run
from kernels.bench.options import add_selection, add_setting, new_parser, setting_of
from kernels.bench.rows import passed

MODE_HELP = {
    "memory": "peak memory and loading, in fresh processes",
    "scaling": "one thread against --threads (2 if that is 1)",
    "overhead": "XNNPACK with and without the delegate loaded; a dense model unless told",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what was asked, print a line or a JSON document; the exit code says whether every cell passed."""
    options = parser().parse_args(arguments)
    try:
        requests = wanted(options)
        rows = []
        for request in requests:
            rows.append(run(request) if len(requests) == 1 else in_own_process(request))
            if not options.json:
                print("\n".join(table.row_lines(rows[-1])), flush=True)
    except EdgesparseError as error:
        return fail(error)
    if options.json:
        print_json(rows)
    return 0 if all(passed(row) for row in rows) else 1


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = new_parser("models", __doc__)
    add_selection(made)
    made.add_argument("--pattern", help="instead of --variant: dense, unstructured, block-16x1, 2:4")
    made.add_argument("--sparsity", type=float, help="with --pattern: the share of zeros, such as 0.8")
    add_setting(made)
    modes = made.add_mutually_exclusive_group()
    for mode, text in MODE_HELP.items():
        modes.add_argument(f"--{mode}", dest="mode", action="store_const", const=mode, help=text)
    made.set_defaults(mode="compare")
    return made


def wanted(options: argparse.Namespace) -> list[Request]:
    """Every model with every variant.

    Raises:
        UsageError: no model, or one that there is not.
    """
    if not options.model:
        raise UsageError(
            "Expected a model, found none.", hint="Example: --model mobilenetv2-224 --variant block-16x1-80"
        )
    zeros = [parse_variant(text) for text in options.variant or []]
    if options.pattern:
        zeros.append(make_zeros(options.pattern, options.sparsity))
    variants = [str(each) for each in zeros] or ["dense" if options.mode == "overhead" else "block-16x1-80"]
    setting = setting_of(options)
    requests = [
        Request(network, variant, options.mode, options.seed, options.weights, setting)
        for network in options.model
        for variant in variants
    ]
    for request in requests:
        str(request.spec)  # a name that there is not fails before anything is measured
    return requests


if __name__ == "__main__":
    sys.exit(main())
