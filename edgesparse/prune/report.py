"""What pruning did, layer by layer: `pruning.json` in a pruned model directory."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgesparse.errors import ModelError

REPORT_FILE = "pruning.json"

# History of the report. A change that an older reader would misread raises the number.
#   1  first.
#   2  accuracy_pruned, epochs, stopped. Reports of version 1 are read.
VERSION = 2


class Permutation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What reordering input channels gave a layer, before fine-tuning.

    Attributes:
        before, after: share of its magnitude that the pattern keeps, 0..1, in the order that was and in the new one.
        reason: why the order stayed; "" where it was free.
    """

    before: float
    after: float
    reason: str


class LayerReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One weighted layer.

    Attributes:
        name: layer name; layers of a nested model as "outer/inner".
        kind: class of the layer: "Conv2D", "Dense", "DepthwiseConv2D", ...
        shape: of its largest weight array: (outputs, inputs) of a Dense, (outputs, height, width, inputs) of a Conv2D
            kernel, Keras's own order for other kinds.
        pattern: pattern of the zeros, or "dense".
        density: share of non-zero values, 0..1, in the finished model.
        pruned: whether the recipe was applied.
        reason: why not, where it was not; else "".
        engine: whose code chose the zeros: "tfmot", "edgesparse", or "" where nothing was pruned.
        permutation: of its input channels, where the recipe asks for it.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    pattern: str
    density: float
    pruned: bool
    reason: str
    engine: str
    permutation: Permutation | None = None


class PruningReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One pruned model.

    Attributes:
        version: of this format.
        key: SHA-256 of everything that the result depends on: model, recipe, data, package versions.
        recipe: name of the recipe.
        accuracy_before, accuracy_after: top-1 on the held-out samples, 0..1.
        accuracy_pruned: the same with all zeros at once and no fine-tuning; None in reports of version 1.
        accuracy_aware: the same after quantisation-aware training; None without.
        accuracy_samples: how many held-out samples there were.
        sparsity: share of zeros over the pruned layers, 0..1.
        layers: every layer with a weight matrix, in the model's order.
        toolchain: versions by distribution name.
        model_sha256: of the model file beside this report; "" where none was written.
        epochs: of fine-tuning; fewer than the recipe's after an early stop.
        stopped: why it ended before the recipe's last epoch; "" if it did not.
        aware_sha256: of the variables after quantisation-aware training beside it; "" where there are none.
    """

    version: int = VERSION
    key: str
    recipe: str
    accuracy_before: float
    accuracy_after: float
    accuracy_samples: int
    sparsity: float
    layers: tuple[LayerReport, ...]
    toolchain: dict[str, str]
    model_sha256: str = ""
    accuracy_aware: float | None = None
    accuracy_pruned: float | None = None
    epochs: int | None = None
    stopped: str = ""
    aware_sha256: str = ""


def read_report(directory: str | Path) -> PruningReport:
    """Read the report of a pruned model directory.

    Raises:
        ModelError: there is none, or it cannot be read.
    """
    path = Path(directory) / REPORT_FILE
    try:
        report = msgspec.json.decode(path.read_bytes(), type=PruningReport)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelError(
            f"{directory} is no pruned model directory: it has no {REPORT_FILE}.",
            hint="Make one with: edgesparse prune",
        ) from error
    except msgspec.MsgspecError as error:
        raise ModelError(f"{path} is damaged: {error}", hint="Make it again with: edgesparse prune --force") from error
    if report.version not in (1, VERSION):
        raise ModelError(f"Expected version {VERSION} of {path}, found {report.version}.", hint="Update edgesparse.")
    return report
