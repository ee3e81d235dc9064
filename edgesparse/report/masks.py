"""Pictures of zeros: the corners of a few layers' masks, kept beside a run, and drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from edgesparse.convert.bundle import DENSE, Bundle, Layer, Variant
from edgesparse.errors import ModelError, UsageError
from edgesparse.files import write_whole

if TYPE_CHECKING:
    from edgesparse.convert.flatbuffer import FlatModel, Operator

# History of masks.json. A change that an older reader would misread raises the number.
#   1  first.
VERSION = 1
MASKS = "masks.json"
CORNER = 64
# Layers of each variant: those that lost the most weights.
LAYERS = 3


class Mask(msgspec.Struct, frozen=True, kw_only=True):
    """The first outputs (down) and inputs (across; of a convolution its taps one after the other) of a layer's mask.

    Attributes:
        corner: a string for each output, "1" for what is kept.
        outputs, inputs: of the whole layer.
    """

    variant: str
    layer: str
    op: str
    pattern: str
    density: float
    outputs: int
    inputs: int
    corner: list[str]

    def part(self) -> str:
        """What it shows, in words."""
        rows, columns = len(self.corner), len(self.corner[0]) if self.corner else 0
        if (rows, columns) == (self.outputs, self.inputs):
            return f"all {self.outputs} outputs x {self.inputs} inputs"
        return f"first {rows} of {self.outputs} outputs, {columns} of {self.inputs} inputs"


class Masks(msgspec.Struct, frozen=True, kw_only=True):
    """`masks.json` of a run. `unread` says why a variant has none: name -> reason."""

    version: int = VERSION
    masks: list[Mask] = []
    unread: dict[str, str] = {}


def masks_of(bundle: Bundle) -> Masks:
    """The masks of every pruned variant of a bundle: of the LAYERS that lost the most weights."""
    masks: list[Mask] = []
    unread: dict[str, str] = {}
    for variant in bundle.manifest.variants:
        if variant.pattern == DENSE:
            continue
        try:
            masks += _masks(bundle, variant)
        except ModelError as error:  # a run is worth more than its pictures
            unread[variant.name] = error.message
    return Masks(masks=masks, unread=unread)


def write_masks(directory: Path, bundle: Bundle) -> None:
    """Keep the masks of a bundle beside a run, whole or not at all."""
    write_whole(directory / MASKS, msgspec.json.encode(masks_of(bundle)))


def read_masks(directory: Path) -> Masks:
    """What `write_masks` kept; none where a run was made before there were any.

    Raises:
        UsageError: masks.json of another version, or damaged.
    """
    path = directory / MASKS
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Masks)
    except FileNotFoundError:
        return Masks()
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}.", hint="Remove it; the run does without.") from None
    if found.version != VERSION:
        raise UsageError(
            f"{path} has version {found.version}; this edgesparse reads version {VERSION}.",
            hint="Read it with the edgesparse that measured the run, or remove the file.",
        )
    return found


def corner_of(kernel: npt.NDArray[Any]) -> list[str]:
    """The first `CORNER` outputs and inputs of a kernel's mask, 1 for what is kept.

    Args:
        kernel: TFLite's layout, outputs first.
    """
    flat = kernel.reshape(len(kernel), -1)[:CORNER, :CORNER]
    return ["".join("1" if value else "0" for value in row) for row in flat != 0]


def mask_path(corner: Sequence[str]) -> str:
    """The kept weights of a mask as an SVG path of unit squares, runs of a row in one rectangle."""
    parts = []
    for y, row in enumerate(corner):
        x = 0
        while (x := row.find("1", x)) >= 0:
            end = row.find("0", x)
            end = len(row) if end < 0 else end
            parts.append(f"M{x} {y}h{end - x}v1H{x}z")
            x = end
    return "".join(parts)


def _masks(bundle: Bundle, variant: Variant) -> list[Mask]:
    from edgesparse.convert.flatbuffer import read_model
    from edgesparse.convert.layers import kernel_operators

    found = read_model(bundle.file(variant.file))
    operators = dict(enumerate(kernel_operators(found)))
    pruned = [(place, layer) for place, layer in enumerate(variant.layers) if layer.density < 1 and place in operators]
    chosen = sorted(pruned, key=lambda each: -(1 - each[1].density) * each[1].weights)[:LAYERS]
    return [_mask(found, operators, place, layer, variant) for place, layer in sorted(chosen, key=lambda each: each[0])]


def _mask(found: FlatModel, operators: Mapping[int, Operator], place: int, layer: Layer, variant: Variant) -> Mask:
    kernel = found.weights(operators[place].inputs[1])
    flat = kernel.reshape(len(kernel), -1)
    return Mask(
        variant=variant.name,
        layer=layer.name,
        op=layer.op,
        pattern=layer.pattern,
        density=float(np.count_nonzero(flat) / max(flat.size, 1)),
        outputs=flat.shape[0],
        inputs=flat.shape[1],
        corner=corner_of(kernel),
    )
