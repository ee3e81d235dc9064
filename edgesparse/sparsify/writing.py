"""The files of a sparsified model: as it came, its twin with zeros in dense tensors, and the sparse one."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgesparse.convert.bundle import DENSE, FLOAT
from edgesparse.convert.flatbuffer import FlatModel, unpack
from edgesparse.convert.layers import Wish, kernel_operators, kernels_of, other_weights, weight_names
from edgesparse.convert.packing import pack, write
from edgesparse.errors import ModelError
from edgesparse.files import leave_memory, mapped
from edgesparse.patterns import parse_pattern
from edgesparse.recipe import Recipe
from edgesparse.sparsify.pruning import write_zeros
from edgesparse.sparsify.storing import Rewriter, choose_encoding
from edgesparse.sparsify.weights import Weight, find_weights

Say = Callable[[str], None]

# The share of a file that may be stored sparsely while something else takes memory.
_MUCH = 0.8


@dataclass(frozen=True)
class Original:
    """The file as it came, in the directory of a bundle.

    Attributes:
        file: relative to the directory; with every weight stored dense.
        precision: of its weights, as in the manifest.
        came_sparse: the layers that the file stored sparsely.
        open_inputs: inputs whose size a runtime is told later, each with its shape, such as "image (1x?x?x3)".
        signatures: how many the file has.
    """

    file: str
    precision: str
    came_sparse: tuple[str, ...] = ()
    open_inputs: tuple[str, ...] = ()
    signatures: int = 0

    @property
    def doubles(self) -> bool:
        """Whether runtimes take twice its size for the weights alone: nothing else should be large beside them."""
        return self.precision == "float16"


@dataclass(frozen=True)
class Pruned:
    """What `write_pruned` left in a directory, by names relative to it.

    Attributes:
        file: the sparse one.
        twin: its weights stored dense; `file` itself where nothing is stored sparsely.
        layer_names: the layer behind an operator, by its place in `kernels_of`.
        wishes: what became of each layer.
        stored: of every layer of the file as it came, its number of weights and the bytes that they take.
        indices: as of `Rewriter`.
    """

    file: str
    twin: str
    layer_names: dict[int, str]
    wishes: dict[str, Wish]
    stored: list[tuple[int, int]]
    indices: int


def write_original(model: Path, directory: Path, say: Say = lambda text: None) -> Original:
    """Copy the file `model` into `directory`; what it stores sparsely is stored dense in the copy.

    Raises:
        ModelError: no .tflite file, or one that cannot be handled.
    """
    file = f"{DENSE}.tflite"
    shutil.copyfile(model, directory / file)
    with mapped(directory / file) as content:
        tree, graphs = unpack(str(model), content)
        if any(buffer.offset > 1 for buffer in tree.buffers or []):
            raise ModelError(
                f"{model} keeps its weights behind the flatbuffer, as files over 2 GB do.",
                hint="Give a file of less than 2 GB.",
            )
        every = ((number, tensor) for number, graph in enumerate(graphs) for tensor in graph.tensors)
        found = [(number, tensor.index) for number, tensor in every if tensor.sparsity]
        if found:
            say(f"storing {len(found)} sparse tensors dense")
            rewriter = Rewriter(tree, graphs)
            for place in found:
                rewriter.store_dense(*place)
            packed = pack(rewriter.finish())
            (directory / file).unlink()  # what is mapped stays there to be read
            write(packed, directory / file, model)
        sparse = {graphs[number].tensors[index].buffer for number, index in found}
        names = tuple(name for buffer, name in weight_names(graphs).items() if buffer in sparse) if sparse else ()
        open_inputs = tuple(_open_inputs(tree, graphs[0]))
        return Original(file, _precision(graphs), names, open_inputs, len(tree.signatureDefs or []))


def write_pruned(
    model: Path,
    original: Original,
    recipe: Recipe,
    directory: Path,
    say: Say = lambda text: None,
    twin_written: Callable[[str], object] = lambda file: None,
) -> Pruned:
    """Prune what `write_original` made of `model` by magnitude, in copies beside it.

    Args:
        model: the file as the user calls it.
        original: of which the copies are.
        recipe: pattern, sparsity and layers.
        directory: where all files are.
        say: told what is being done.
        twin_written: told the twin's name once that file is whole, mostly before the sparse one is made of it.

    Raises:
        ModelError: weights that are not finite. RecipeError: the recipe prunes no layer.
    """
    twin, sparse = f"{recipe.name}.{DENSE}.tflite", f"{recipe.name}.tflite"
    pattern = parse_pattern(recipe.pattern)
    with mapped(directory / original.file) as content:
        graphs = unpack(str(model), content)[1]
        weights = find_weights(graphs, recipe, pattern)
        pruned = [weight for weight in weights if not weight.reason]
        say(f"pruning {len(pruned)} of {len(weights)} layers: {pattern}")
        shutil.copyfile(directory / original.file, directory / twin)
        for weight in pruned:
            write_zeros(
                directory / twin, content, graphs[weight.graph], weight, pattern, recipe.sparsity_of(weight.name)
            )
        names = _layer_names(graphs, weights)
        kernels = [graph.tensors[graph.constant(op.inputs[1]) or 0] for graph, op in kernels_of(graphs)]
        held = [*kernels, *(tensor for _, _, tensor in other_weights(graphs))]
        stored = [(math.prod(tensor.shape), tensor.stored_bytes) for tensor in held]
        leave_memory(content)
    with mapped(directory / twin) as content:
        tree, graphs = unpack(str(model), content)
        rewriter = Rewriter(tree, graphs)
        encodings = {}
        for weight in pruned:
            values = graphs[weight.graph].weights(weight.tensor.index)
            encodings[weight.name] = choose_encoding(weight, values, pattern, fixed=rewriter.fixed)
            leave_memory(content)
        if all(encoding.dense for encoding in encodings.values()):
            twin = str((directory / twin).rename(directory / sparse).name)
        # Of a file that is hardly smaller, what is stored and the file packed of it take enough memory for themselves.
        stored_bytes = sum(each.bytes for each in encodings.values() if not each.dense)
        waits = original.doubles or stored_bytes > _MUCH * len(content)
        if not waits:
            twin_written(twin)
        for weight in pruned:
            if not encodings[weight.name].dense:
                values = graphs[weight.graph].weights(weight.tensor.index)
                rewriter.store_sparse(weight, values, encodings[weight.name])
                leave_memory(content)
        if rewriter.changed:
            write(pack(rewriter.finish()), directory / sparse, model)
    if waits:
        twin_written(twin)
    wishes = {weight.name: Wish(DENSE, weight.reason) for weight in weights}
    wishes.update({name: Wish(str(pattern), encoding.reason) for name, encoding in encodings.items()})
    return Pruned(sparse, twin, names, wishes, stored, rewriter.indices)


def _layer_names(graphs: Sequence[FlatModel], weights: Sequence[Weight]) -> dict[int, str]:
    by_buffer = {weight.tensor.buffer: weight.name for weight in weights}
    constants = [graph.tensors[graph.constant(op.inputs[1]) or 0] for graph, op in kernels_of(graphs)]
    return {place: by_buffer[tensor.buffer] for place, tensor in enumerate(constants)}


def _open_inputs(tree: Any, graph: FlatModel) -> Iterator[str]:
    """Not those with an open batch only, which is 1 here."""
    for index in graph.inputs:
        signature = tree.subgraphs[0].tensors[index].shapeSignature
        if signature is not None and any(size < 0 for size in signature[1:]):
            shape = "x".join("?" if size < 0 else str(size) for size in signature)
            yield f"{graph.tensors[index].name} ({shape})"


def _precision(graphs: Sequence[FlatModel]) -> str:
    """Of the weights; int8 ones whose operators take floats are "dynamic"."""
    places = [(graph, op) for graph in graphs for op in kernel_operators(graph)]
    kinds = [(graph.tensors[graph.constant(op.inputs[1]) or 0].type, graph, op) for graph, op in places]
    inputs = {graph.tensors[op.inputs[0]].type for kind, graph, op in kinds if kind == "INT8"}
    if inputs:
        return "dynamic" if inputs == {"FLOAT32"} else "int8"
    return FLOAT if any(kind == "FLOAT32" for kind, _, _ in kinds) else "float16"
