"""Says of each layer of a model whether its zeros have a pattern: what a runtime for 2:4, say, insists on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from edgesparse import patterns
from edgesparse.convert.flatbuffer import read_graphs
from edgesparse.convert.layers import kernels_of, layer_name
from edgesparse.errors import InputRefused, ModelError, RecipeError

Verdict = Literal["valid", "broken", "does not fit", "not checked"]
_CHECKED = ("CONV_2D", "FULLY_CONNECTED", "Conv2D", "Dense")


class LayerCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One layer with weights.

    Attributes:
        name, op: of the layer; its operator, or its Keras class.
        shape: outputs first, as in the file.
        zeros: their share.
        verdict: "valid": the zeros have the pattern; "broken": they do not; "does not fit": the kernel cannot take it;
            "not checked": a layer of a kind that patterns are not for, or left out.
        reason: where it is first broken, or why it does not fit or is not checked.
    """

    name: str
    op: str
    shape: tuple[int, ...]
    zeros: float
    verdict: Verdict
    reason: str


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What `check` found.

    Attributes:
        model: the file.
        pattern: that was asked for.
        valid: whether every layer that can have the pattern has it, and there is one.
        layers: in the model's order.
    """

    model: str
    pattern: str
    valid: bool
    layers: list[LayerCheck]

    def require_valid(self) -> None:
        """Raises:
        InputRefused: it is not valid; names the first layer that is not.
        """
        if self.valid:
            return
        broken = [layer for layer in self.layers if layer.verdict == "broken"]
        if not broken:
            raise InputRefused(f"{self.model}: no layer can be {self.pattern}.", hint="The table says why.")
        first, more = broken[0], f", and {len(broken) - 1} more" if len(broken) > 1 else ""
        raise InputRefused(
            f"{self.model} is no valid {self.pattern}: layer {first.name}, {first.reason}{more}.",
            hint="Prune it with: edgesparse sparsify, or edgesparse prune. Leave layers out with --exclude.",
        )


def check(model: str | Path, pattern: str, *, include: Sequence[str] = (".*",), exclude: Sequence[str] = ()) -> Checked:
    """Check every layer with weights against a pattern.

    Args:
        model: a .tflite file, whatever its encodings; or a Keras model as `load_model` takes it, with TensorFlow.
        pattern: as in a recipe, such as "2:4": at most 2 non-zeros in 4 consecutive inputs of an output and tap.
        include, exclude: regular expressions over layer names.

    Raises:
        ModelError: no model. RecipeError: no such pattern, or no regular expression.
    """
    wanted = patterns.parse_pattern(pattern)
    for each in (*include, *exclude):
        try:
            re.compile(each)
        except re.error as error:
            raise RecipeError(f"{each!r} is no regular expression: {error}.", hint="Escape it, or mend it.") from None
    path = Path(model)
    is_file = path.suffix == ".tflite" or (path.is_file() and path.read_bytes()[4:8] == b"TFL3")
    found = [
        _layer(name, op, kernel, wanted, include, exclude)
        for name, op, kernel in (_of_file(path) if is_file else _of_keras(str(model)))
    ]
    if not found:
        raise ModelError(f"{model} has no layer with weights.", hint="Give a model with convolutions or dense layers.")
    verdicts = {layer.verdict for layer in found}
    return Checked(
        model=str(model), pattern=str(wanted), valid="valid" in verdicts and "broken" not in verdicts, layers=found
    )


def _layer(
    name: str, op: str, kernel: Any, pattern: patterns.Pattern, include: Sequence[str], exclude: Sequence[str]
) -> LayerCheck:
    verdict: Verdict = "valid"
    reason = ""
    if op not in _CHECKED:
        verdict, reason = "not checked", f"patterns are not for {op}"
    elif not any(re.fullmatch(each, name) for each in include) or any(re.fullmatch(each, name) for each in exclude):
        verdict, reason = "not checked", "left out"
    elif misfit := patterns.misfit(kernel.shape, pattern):
        verdict, reason = "does not fit", misfit
    elif violation := patterns.first_violation(kernel, pattern):
        verdict, reason = "broken", violation
    zeros = 1 - patterns.density(kernel)
    return LayerCheck(name=name, op=op, shape=kernel.shape, zeros=zeros, verdict=verdict, reason=reason)


def _of_file(path: Path) -> Iterator[tuple[str, str, Any]]:
    for found, op in kernels_of(read_graphs(path)):
        tensor = found.tensors[found.constant(op.inputs[1]) or 0]
        yield layer_name(found, op) or tensor.name or f"tensor {tensor.index}", op.name, found.weights(op.inputs[1])


def _of_keras(model: str) -> Iterator[tuple[str, str, Any]]:
    from edgesparse.prune.layers import kernel, weighted_layers
    from edgesparse.prune.models import load_model

    for name, layer, _ in weighted_layers(load_model(model)):
        yield name, type(layer).__name__, kernel(layer)
