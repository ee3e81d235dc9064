"""Instructions that an ARM64 CPU executes for one inference, counted on the emulated board: XNNPACK on the dense file,
XNNPACK on the sparse file, and csr, each as a share of the first.

Models, kernels and runtime reach the board as any bundle does (deploy, bench), so that outputs are held against the
golden ones there before anything is counted. Instructions are not time; how long they take, only a board can tell.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edgesparse.bench import bench
from edgesparse.boards.inventory import Board
from edgesparse.boards.virt import Machine, ensure_image
from edgesparse.boards.virt.recipe import TYPE, load_recipe
from edgesparse.errors import EdgesparseError
from edgesparse.networks.specs import WEIGHT_TYPES
from edgesparse.quantity import millions
from edgesparse.report.summary import Comparison, Row
from kernels.bench.arm_bundle import make_bundle
from kernels.bench.document import print_json
from kernels.bench.files import fail, run_program, say
from kernels.bench.options import new_parser

# History of the JSON document. A change that an older reader would misread raises the number.
#   1  first.
FORMAT = 1
BACKENDS = ("xnnpack", "csr")
DENSE = "dense"
CPU_MODELS = load_recipe(TYPE).machine.cpus
# What is measured unless told: stock graphs, which XNNPACK runs dense, and graphs that its own sparse inference takes.
MODELS = ("mobilenetv2-224", "mobilenetv2-224-conforming", "mobilenetv1-224", "mobilenetv1-224-conforming")
VARIANTS = ("unstructured-80", "unstructured-90", "block-16x1-80", "block-4x1-80", "2-of-4")
# What csr must reach: at most this share of XNNPACK's instructions on the dense file.
TARGETS = {("mobilenetv2-224", "block-16x1-80"): 0.45, ("mobilenetv2-224", "unstructured-80"): 0.65}
CONFORMING = "-conforming"

Document = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Boot, measure, print; the exit code says whether every cell passed its parity gate."""
    options = parser().parse_args(arguments)
    try:
        rows = measure(options.model or MODELS, options.variant or VARIANTS, options.seed, options.weights, options.cpu)
    except EdgesparseError as error:
        return fail(error)
    if options.json:
        print_json({"format": FORMAT, "kind": "arm64-instructions", "emulated": True, "cpu": options.cpu, "rows": rows})
    else:
        print("\n".join(table(rows, options.cpu)))
    return 0 if all(cell["status"] == "ok" for row in rows for cell in row["cells"].values()) else 1


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = new_parser("arm", __doc__)
    made.add_argument("--model", action="append", help="mobilenetv2-224, mobilenetv1-224-conforming, …; repeatable")
    made.add_argument("--variant", action="append", help="unstructured-80, block-16x1-80, 2-of-4; repeatable")
    made.add_argument("--seed", type=int, default=0, help="of the models' random weights")
    made.add_argument("--weights", choices=WEIGHT_TYPES, default="float32", help="int8: the activations too")
    made.add_argument(
        "--cpu", choices=CPU_MODELS, default=CPU_MODELS[0], help="only the first has dot products of bytes"
    )
    made.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    return made


def measure(models: Sequence[str], variants: Sequence[str], seed: int, weights: str, cpu: str) -> list[Document]:
    """A row for each model and variant, from a clean board of this run alone.

    Raises:
        EdgesparseError: the board does not come up, or nothing on it can be measured.
    """
    image = ensure_image(say)
    with tempfile.TemporaryDirectory(prefix="edgesparse-arm-") as parent:
        bundles = []
        for number, model in enumerate(models):
            directory = Path(parent) / str(number)
            directory.mkdir()
            bundles.append(make_bundle(directory, model, variants, seed, weights))
        machine = Machine(Path(parent) / "board")
        try:
            machine.start(image, cpu=cpu, counting=True, progress=say)
            return [row for bundle in bundles for row in _rows(_count(bundle.path, machine.board()))]
        finally:
            machine.stop(discard=True)


def _count(bundle: Path, board: Board) -> Comparison:
    def show(message: dict[str, Any]) -> None:
        record = message.get("record", {})
        if record.get("type") == "check":
            say(f"{record['cell']}: outputs and path checked, {record['status']}")
        if record.get("type") == "samples":
            say(f"{record['cell']}: {millions(min(record['latency_ns']))} million instructions")

    return bench(bundle, board, backends=BACKENDS, progress=say, on_message=show).comparison()


def _rows(comparison: Comparison) -> Iterator[Document]:
    """One variant: its files under both backends, as shares of the dense file under XNNPACK."""
    by_cell = {(variant.name, row.backend): row for variant in comparison.variants for row in variant.backends}
    model = str(comparison.bundle["name"])
    baseline = _counted(by_cell[DENSE, "xnnpack"])
    for variant in comparison.variants:
        cells = {backend: by_cell[variant.name, backend] for backend in BACKENDS}
        yield {
            "model": model,
            "variant": variant.name,
            "density": variant.density,
            "xnnpack_dense_instructions": baseline,
            "cells": {backend: _cell(row, baseline) for backend, row in cells.items()},
            "target": TARGETS.get((model, variant.name)),
        }


def _cell(row: Row, baseline: float | None) -> Document:
    found = _counted(row)
    return {
        "status": row.status,
        "reason": row.reason,
        "instructions": found,
        "of_xnnpack_dense": found / baseline if found and baseline else None,
        "path": row.path,
        "parity": row.parity,
        "kernels": row.delegate["nodes"] if row.delegate else None,
    }


def _counted(row: Row) -> float | None:
    return row.instructions.per_inference if row.instructions else None


def table(rows: Sequence[Document], cpu: str = CPU_MODELS[0]) -> list[str]:
    """A line for each model and variant: millions of instructions, and shares of XNNPACK's on the dense file."""
    form = "{:<28}{:<18}{:>9}{:>10}{:>9}{:>10}{:>9}  {}"
    lines = [
        f"Millions of instructions for one inference, one thread, emulated {cpu.title()}; that is not latency.",
        form.format("model", "zeros", "XNNPACK", "XNNPACK", "of", "csr", "of", "target for csr").rstrip(),
        form.format("", "", "dense", "sparse", "dense", "", "dense", "").rstrip(),
    ]
    for row in rows:
        xnnpack, csr = row["cells"]["xnnpack"], row["cells"]["csr"]
        baseline = millions(row["xnnpack_dense_instructions"])
        values = (*_shown(xnnpack), *_shown(csr), _verdict(row))
        lines.append(form.format(row["model"], row["variant"], baseline, *values).rstrip())
    return lines


def _shown(cell: Document) -> tuple[str, str]:
    share = cell["of_xnnpack_dense"]
    if cell["status"] != "ok":
        return "failed", cell["reason"][:40]
    return millions(cell["instructions"]), "-" if share is None else f"{share:.3f}"


def _verdict(row: Document) -> str:
    """The target, and whether it is reached."""
    xnnpack, csr = (row["cells"][backend]["instructions"] for backend in BACKENDS)
    share = row["cells"]["csr"]["of_xnnpack_dense"]
    if xnnpack is None or share is None:
        return ""
    if row["variant"] == DENSE:
        return _said("within 1 % of XNNPACK", csr <= 1.01 * xnnpack)
    if row["target"] is not None:
        return _said(f"at most {row['target']:.2f}", share <= row["target"])
    if row["model"].endswith(CONFORMING):
        return _said("no more than XNNPACK sparse", csr <= 1.01 * xnnpack)
    return ""


def _said(target: str, reached: bool) -> str:
    return f"{target}: {'yes' if reached else 'NO'}"


if __name__ == "__main__":
    sys.exit(run_program(main))
