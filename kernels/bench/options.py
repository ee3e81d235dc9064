"""Command-line options that the ways of measuring whole models share."""

from __future__ import annotations

import argparse

from edgesparse.agent.backends import RUNTIMES
from edgesparse.networks.specs import WEIGHT_TYPES
from kernels.bench.interleave import Timing
from kernels.bench.modes import Setting
from kernels.bench.rows import TOLERANCE


def new_parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """A parser that prints the module's own words as they are."""
    return argparse.ArgumentParser(
        prog=f"python -m kernels.bench.{module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_selection(made: argparse.ArgumentParser) -> None:
    """Which models."""
    made.add_argument("--model", action="append", help="mobilenetv2-224, mlp-4096, …; may be repeated")
    made.add_argument("--variant", action="append", help="dense, unstructured-80, block-16x1-80, 2-of-4; repeatable")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--weights", choices=WEIGHT_TYPES, default="float32")
    made.add_argument("--models-dir", help="take MODEL.VARIANT.zeros.tflite and .sparse.tflite from here")


def add_setting(made: argparse.ArgumentParser, rounds: int = 30, min_time: float = 2.0, max_time: float = 20.0) -> None:
    """How to measure."""
    made.add_argument("--delegate", help="the library; the built one where not given")
    made.add_argument("--claim", action="append", choices=("auto", "all", "none"), help="default: auto and all")
    made.add_argument("--isa", help="force the delegate's instruction set: scalar, avx2, avx512vnni, neon, neondot, …")
    made.add_argument("--csr-file", choices=("sparse", "zeros"), default="sparse", help="which encoding csr gets")
    made.add_argument("--threads", type=int, default=1)
    made.add_argument("--runtime", choices=tuple(RUNTIMES), default="ai-edge-litert")
    made.add_argument("--rounds", type=int, default=rounds, help="at least so many")
    made.add_argument("--min-time", type=float, default=min_time, help="seconds, at least")
    made.add_argument("--max-time", type=float, default=max_time, help="seconds, at most")
    made.add_argument("--burst", type=int, default=1, help="invocations in a turn; above 1 the first is not counted")
    made.add_argument("--tolerance", type=float, default=TOLERANCE, help="of outputs, relative to the largest")
    made.add_argument("--samples", action="store_true", help="keep every round's milliseconds in the JSON")
    made.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def setting_of(options: argparse.Namespace) -> Setting:
    """What was asked for."""
    return Setting(
        delegate=options.delegate,
        claims=tuple(options.claim or Setting.claims),
        isa=options.isa,
        csr_file=options.csr_file,
        threads=options.threads,
        runtime=options.runtime,
        timing=Timing(options.rounds, options.min_time, options.max_time, options.burst),
        tolerance=options.tolerance,
        keep_samples=options.samples,
        models_dir=options.models_dir,
    )
