"""Everything that `make bench-kernels` measures, as tables or as one JSON document.

Each kernel alone; whole models, csr against XNNPACK dense and sparse, every row in a process of its own; int8 models,
csr against XNNPACK's int8; the delegate's overhead on a dense model; two threads against one; peak memory and loading.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from edgesparse.errors import EdgesparseError
from kernels.bench import table
from kernels.bench.document import Document, documented, print_json
from kernels.bench.files import fail, find_delegate, run_program, say
from kernels.bench.micro import run_micro
from kernels.bench.modes import Request, in_own_process
from kernels.bench.options import add_selection, add_setting, new_parser, setting_of
from kernels.bench.rows import Row, passed

MODELS = ("mobilenetv1-224", "mobilenetv2-224", "resnet18-224", "resnet50-224", "mlp-4096")
VARIANTS = ("unstructured-80", "unstructured-90", "block-16x1-50", "block-16x1-80", "block-16x1-90", "block-8x1-80",
            "2-of-4")  # fmt: skip
INT8_MODELS = ("mobilenetv1-224", "mobilenetv2-224", "resnet50-224")
INT8_VARIANTS = ("dense", "block-16x4-50", "block-16x4-80", "block-16x4-90")
PARTS = ("kernels", "models", "int8", "overhead", "scaling", "memory")
BEYOND = ("mobilenetv1-224", "block-16x1-80")  # what threads and memory are measured on, where it is asked for


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print; the exit code says whether every cell passed."""
    options = parser().parse_args(arguments)
    try:
        delegate = find_delegate(Path(options.delegate) if options.delegate else None)
        document = documented("kernels", delegate, lambda document: measure_parts(document, options))
    except EdgesparseError as error:
        return fail(error)
    if options.json:
        print_json(document)
    else:
        print("\n".join(summary(document)))
    rows = itertools.chain.from_iterable(document.get(part, ()) for part in PARTS if part != "kernels")
    return 0 if all(passed(row) for row in rows) else 1


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = new_parser("suite", __doc__)
    add_selection(made)
    made.add_argument("--only", action="append", choices=PARTS, help="only this part; may be repeated")
    made.add_argument("--skip", action="append", choices=PARTS, help="all but this part; may be repeated")
    add_setting(made, rounds=50, min_time=3.0, max_time=30.0)
    return made


def measure_parts(document: Document, options: argparse.Namespace) -> None:
    """Put every part that was asked for into the document; tables appear as they are known."""
    parts = [part for part in options.only or PARTS if part not in (options.skip or ())]
    if "kernels" in parts:
        say("kernels alone")
        isa = ["--isa", options.isa] if options.isa else []
        document["kernels"] = run_micro(arguments=["--threads", str(options.threads), *isa])
        _print(options, table.kernels(document["kernels"]))
    for part in parts:
        if part != "kernels":
            say(part)
            document[part] = [_shown(in_own_process(request), options) for request in REQUESTS[part](options)]


def summary(document: Document) -> list[str]:
    """Tables of speed-ups, then what may have spoilt them."""
    lines: list[str] = []
    for part in ("models", "int8"):
        rows: Sequence[Row] = document.get(part, ())
        cells = dict.fromkeys(name for row in rows for name in row["cells"] if name != row["baseline"])
        lines += [line for cell in cells for line in ["", *table.speedups(rows, cell)]]
    return [*lines, "", *(f"! {warning}" for warning in document["warnings"])]


def _models(options: argparse.Namespace) -> Iterator[Request]:
    for network, variant in itertools.product(options.model or MODELS, options.variant or VARIANTS):
        yield _request(options, network, variant, "compare")


def _int8(options: argparse.Namespace) -> Iterator[Request]:
    for network, variant in itertools.product(options.model or INT8_MODELS, options.variant or INT8_VARIANTS):
        yield replace(_request(options, network, variant, "compare"), weights="int8")


def _overhead(options: argparse.Namespace) -> Iterator[Request]:
    for network in options.model or MODELS[:2]:
        yield _request(options, network, "dense", "overhead")


def _beyond(mode: str, options: argparse.Namespace) -> Iterator[Request]:
    networks, variants = options.model or BEYOND[:1], options.variant or BEYOND[1:]
    for network, variant in itertools.product(networks, variants):
        yield _request(options, network, variant, mode)


REQUESTS: dict[str, Callable[[argparse.Namespace], Iterable[Request]]] = {
    "models": _models,
    "int8": _int8,
    "overhead": _overhead,
    "scaling": lambda options: _beyond("scaling", options),
    "memory": lambda options: _beyond("memory", options),
}


def _request(options: argparse.Namespace, network: str, variant: str, mode: str) -> Request:
    return Request(network, variant, mode, options.seed, options.weights, setting_of(options))


def _shown(row: Row, options: argparse.Namespace) -> Row:
    _print(options, table.row_lines(row))
    return row


def _print(options: argparse.Namespace, lines: Iterable[str]) -> None:
    if not options.json:
        print("\n".join(lines), flush=True)


if __name__ == "__main__":
    sys.exit(run_program(main))
