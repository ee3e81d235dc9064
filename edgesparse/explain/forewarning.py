"""What the parity gate leaves open: it can only run files on this machine's CPU, and hold them against what is there.

XNNPACK's sparse path is off on x86 CPUs with AVX, so a graph that it computes wrongly passes every check on such a
machine and fails on the board. The rules of `explain` know those graphs.
"""

from __future__ import annotations

import numpy as np

from edgesparse.agent import backends
from edgesparse.boards.types import BoardType, load_type
from edgesparse.convert.bundle import Bundle, Variant
from edgesparse.convert.flatbuffer import FlatModel, unpack
from edgesparse.convert.layers import kernel_operators
from edgesparse.explain import xnnpack
from edgesparse.explain.runtimes import RUNTIMES
from edgesparse.files import mapped
from edgesparse.wire import XNNPACK

# Whatever the model of the board: the rules are those of the instruction set.
_ARM64 = "raspberrypi5"
_SAYS = {"wrong": "computes wrong values", "fails": "does not start"}


def forewarnings(bundle: Bundle) -> list[str]:
    """A sentence for each pruned variant and runtime that XNNPACK will fail on an ARM64 board, though the file passed
    the gate here: what happens, why, and the cure; and for each variant that the gate did not run under XNNPACK itself,
    that passed nowhere, or whose golden outputs hold NaN. None where all is well, as it mostly is."""
    board, found = load_type(_ARM64), []
    for variant in bundle.manifest.variants:
        if variant.recipe is None:
            continue
        ran = {row.file for row in variant.host_parity if row.backend == XNNPACK}
        if variant.host_parity and not ran:
            found.append(
                f"{variant.name} was not run under XNNPACK here, which would take over three times the model's memory: "
                "it packs every weight as float32 for each of its readers. `edgesparse deploy` checks that on the board"
            )
        elif ran and variant.file.path not in ran:
            found.append(
                f"{variant.name} was checked under XNNPACK by its twin, the same weights stored dense: with the file "
                "itself XNNPACK takes over three times the model's memory. `edgesparse deploy` checks that on the board"
            )
        if _passed_nowhere(variant):
            found.append(
                f"{variant.name} gave its golden outputs under no runtime and backend here, so nothing says that it is "
                f"right: {next(row.reason for row in variant.host_parity if not row.ok)}"
            )
        elif share := _share_of_nan(bundle, variant):
            found.append(
                f"{variant.name} gives NaN in {share:.0%} of its golden outputs, of which only the place is compared; "
                "with inputs of the real kind (--data) it may not"
            )
        path = bundle.file(variant.file)
        with mapped(path) as content:
            model = unpack(str(path), content)[1][0]
            places = {op.index: model.constant(op.inputs[1]) or 0 for op in kernel_operators(model)}
            weighted = {place: 1 - model.stored_density(constant) for place, constant in places.items()}
            for runtime in RUNTIMES:
                if _passed(variant, runtime) and (trouble := _trouble(model, board, runtime, weighted)):
                    found.append(f"{variant.name} on an ARM64 board, under {runtime}'s XNNPACK, {trouble}")
    return found


def _passed_nowhere(variant: Variant) -> bool:
    ran = [row.ok for row in variant.host_parity if row.runtime in backends.RUNTIMES]
    return bool(ran) and not any(ran)


def _share_of_nan(bundle: Bundle, variant: Variant) -> float:
    """Of the values in all golden outputs."""
    with np.load(bundle.file(variant.golden), allow_pickle=False) as archive:
        outputs = [array for array in archive.values() if array.dtype.kind in "fc"]
    values = sum(each.size for each in outputs)
    return sum(int(np.isnan(each).sum()) for each in outputs) / values if values else 0.0


def _passed(variant: Variant, runtime: str) -> bool:
    """Whether the gate has not said itself that the file fails there."""
    return all(row.ok for row in variant.host_parity if (row.runtime, row.backend) == (runtime, XNNPACK))


def _trouble(model: FlatModel, board: BoardType, runtime: str, weighted: dict[int, float]) -> str:
    paths = xnnpack.forecast(model, board, RUNTIMES[runtime], weighted).values()
    for worst in ("fails", "wrong"):
        if path := next((each for each in paths if each.path == worst), None):
            return f"{_SAYS[worst]}: {path.reason}. {path.cure}".rstrip()
    return ""
