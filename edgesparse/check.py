"""Says of each layer of a model whether its zeros have a pattern: what a runtime for 2:4, say, insists on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from edgesparse import patterns
from edgesparse.convert.flatbuffer import DTYPES, read_graphs
from edgesparse.convert.layers import kernels_of, other_weights, weight_names
from edgesparse.errors import InputRefused, ModelError, RecipeError

Verdict = Literal["valid", "broken", "does not fit", "not checked"]
_CHECKED = ("CONV_2D", "FULLY_CONNECTED", "Conv2D", "Dense")


class LayerCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One layer with weights.

    Attributes:
        name, op: of the layer, as `sparsify` calls it; its operator, or its Keras class.
        shape: outputs first, as in the file.
        zeros: their share; None where the weights are of a type that cannot be read.
        verdict: "valid": the zeros have the pattern; "broken": they do not; "does not fit": the kernel cannot take it;
            "not checked": a layer of a kind that patterns are not for, of a type that cannot be read, or left out.
        reason: where it is first broken, or why it does not fit or is not checked.
    """

    name: str
    op: str
    shape: tuple[int, ...]
    zeros: float | None
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
        ModelError: no model. RecipeError: no such pattern, no regular expression, or one that matches no layer.
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
        _layer(*layer, wanted, include, exclude) for layer in (_of_file(path) if is_file else _of_keras(str(model)))
    ]
    if not found:
        raise ModelError(f"{model} has no layer with weights.", hint="Give a model with convolutions or dense layers.")
    for each in (*include, *exclude):
        if not any(re.fullmatch(each, layer.name) for layer in found):
            names = ", ".join(layer.name for layer in found)
            raise RecipeError(f"{each!r} matches no layer of {model}.", hint=f"Its layers with weights are {names}.")
    verdicts = {layer.verdict for layer in found}
    return Checked(
        model=str(model), pattern=str(wanted), valid="valid" in verdicts and "broken" not in verdicts, layers=found
    )


def _layer(
    name: str,
    op: str,
    shape: tuple[int, ...],
    kernel: Any,
    pattern: patterns.Pattern,
    include: Sequence[str],
    exclude: Sequence[str],
) -> LayerCheck:
    """`kernel` is the type of the weights where they cannot be read."""
    verdict: Verdict = "valid"
    reason = ""
    if op not in _CHECKED:
        verdict, reason = "not checked", f"patterns are not for {op}"
    elif not any(re.fullmatch(each, name) for each in include) or any(re.fullmatch(each, name) for each in exclude):
        verdict, reason = "not checked", "left out"
    elif isinstance(kernel, str):
        verdict, reason = "not checked", f"weights of type {kernel} cannot be read"
    elif misfit := patterns.misfit(shape, pattern):
        verdict, reason = "does not fit", misfit
    elif violation := patterns.first_violation(kernel, pattern):
        verdict, reason = "broken", violation
    zeros = None if isinstance(kernel, str) else 1 - patterns.density(kernel)
    return LayerCheck(name=name, op=op, shape=shape, zeros=zeros, verdict=verdict, reason=reason)


_Found = tuple[str, str, tuple[int, ...], Any]


def _of_file(path: Path) -> Iterator[_Found]:
    """Each weight once, whoever reads it; those that are no kernels last."""
    graphs = read_graphs(path)
    names, seen = weight_names(graphs), set()
    held = [(graph, op, graph.tensors[graph.constant(op.inputs[1]) or 0]) for graph, op in kernels_of(graphs)]
    for graph, op, tensor in (*held, *other_weights(graphs)):
        if tensor.buffer not in seen:
            seen.add(tensor.buffer)
            kernel = graph.weights(tensor.index) if tensor.type in DTYPES else tensor.type
            yield names[tensor.buffer], op.name, tensor.shape, kernel


def _of_keras(model: str) -> Iterator[_Found]:
    from edgesparse.prune.layers import kernel, weighted_layers
    from edgesparse.prune.models import load_model

    for name, layer, _ in weighted_layers(load_model(model)):
        weights = kernel(layer)
        yield name, type(layer).__name__, weights.shape, weights
