"""Rewrites a Keras model so that XNNPACK's sparse inference can take it on ARM, and says what each change does.

XNNPACK computes sparsely inside a cluster: it starts at a 3x3 convolution of stride 2 on 3 channels, goes on through
1x1 and depthwise convolutions, and wants padding of its own on every side wherever a stride is 2. Keras pads one side
only there. A multiplication by a constant, as in a hard sigmoid, ends it. Behind the global pooling a fully connected
layer is safe, where a 1x1 convolution is computed wrongly by several versions of XNNPACK.

A change either keeps the function (other operators, the same weights and outputs) or shifts it: the weights are
carried, but strided convolutions look at other pixels, and fine-tuning has to follow.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from edgesparse.errors import EdgesparseError, ModelError
from edgesparse.files import refuse_foreign, replacing
from edgesparse.prune.models import MODEL_FILE, check_keras2, load_model, save_model

if TYPE_CHECKING:
    from edgesparse.explain import Explanation

PREPARED_FILE = "prepared.json"

# The board whose rules are asked, and the zeros that its sparse path is asked for: an ARM64 one, and well over 2/3.
BOARD = "raspberrypi5"
ZEROS = 0.8

# Outputs of a rewritten model whose function stays, against the original's: sums in another order.
_TOLERANCE = 1e-5
_SAMPLES = 4

# What may stand between the pooling and the output of a head that becomes fully connected.
_HEAD = (
    "Activation", "Add", "BatchNormalization", "Conv2D", "Dense", "Dropout", "Flatten", "Multiply", "ReLU", "Rescaling",
    "Reshape", "Softmax", "TFOpLambda",
)  # fmt: skip


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One change: to which layer, what, and whether the function stays or shifts."""

    layer: str
    what: str
    keeps: bool


class Obstacle(msgspec.Struct, frozen=True, kw_only=True):
    """Why operators with weights still run dense; `operators` of them."""

    reason: str
    operators: int


class Preparation(msgspec.Struct, frozen=True, kw_only=True):
    """What `prepare` did, and what XNNPACK will make of it.

    Attributes:
        changes: in the model's order.
        difference: greatest difference of outputs on random inputs once all changes that keep the function are made,
            relative to the greatest output.
        shift: the same once all changes are made; what fine-tuning has to make good.
        board: whose rules were asked.
        path: "sparse" or "dense" for the model pruned to `zeros`; "wrong" where outputs would be.
        sparse_operators, operators: with weights that run sparse there, and all.
        left: why the others run dense.
    """

    changes: list[Change]
    difference: float
    shift: float
    board: str
    zeros: float
    path: str
    sparse_operators: int
    operators: int
    left: list[Obstacle]


@dataclass(frozen=True)
class Prepared:
    """A rewritten model, not compiled anew where nothing changed, and how it came about; `path` is its directory."""

    model: Any
    preparation: Preparation
    path: Path | None


def prepare(model: Any, out: str | Path | None = None, *, progress: Callable[[str], None] | None = None) -> Prepared:
    """Rewrite a model for XNNPACK's sparse inference; the model given stays as it is.

    Args:
        model: a functional or sequential `tf_keras` model, or what `load_model` takes.
        out: directory for model.keras and prepared.json.
        progress: told what is being done.

    Raises:
        ModelError: no such model. UsageError: `out` holds something else.
        EdgesparseError: a change that should keep the function does not, a defect.
    """
    say = progress or (lambda text: None)
    model = load_model(model) if isinstance(model, str | Path) else check_keras2(model, "the model given")
    if out is not None:
        out = Path(out)
        refuse_foreign(out, PREPARED_FILE)
    graph = _functional(model)
    say("rewriting the graph")
    kept, keeping = _rewrite(graph, shifting=False)
    prepared, changes = _rewrite(graph, shifting=True)
    difference, shift = _apart(model, kept), _apart(model, prepared)
    if difference > _TOLERANCE:
        raise EdgesparseError(
            f"Changes that keep the function of {model.name} moved its outputs by {difference:.2g}.",
            hint="This is a defect of edgesparse; please report it with the model.",
        )
    assert [change for change in changes if change.keeps] == keeping
    say(f"asking what XNNPACK on {BOARD} makes of it with {ZEROS:.0%} zeros")
    preparation = _forecast(prepared, changes, difference, shift)
    if model.optimizer is not None and changes:
        _compile_like(prepared, model)
    if out is not None:
        with replacing(out) as directory:
            save_model(prepared, directory / MODEL_FILE)
            (directory / PREPARED_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(preparation)))
    return Prepared(prepared, preparation, out)


def _functional(model: Any) -> Any:
    """The same model as a graph with an input layer: a sequential one has another configuration."""
    from edgesparse.prune.legacy_keras import keras

    if not isinstance(model, keras.Sequential):
        return model
    entry = keras.Input(model.input_shape[1:], dtype=model.inputs[0].dtype, name=f"{model.name}_input")
    x = entry
    for layer in model.layers:  # made anew: one that is called twice would count as shared
        if not isinstance(layer, keras.layers.InputLayer):
            nested = isinstance(layer, keras.Model)
            x = (keras.models.clone_model(layer) if nested else layer.__class__.from_config(layer.get_config()))(x)
    found = keras.Model(entry, x, name=model.name)
    found.set_weights(model.get_weights())
    return found


def _rewrite(model: Any, *, shifting: bool) -> tuple[Any, list[Change]]:
    """A copy with every change that keeps the function, and with those that shift it if asked."""
    from edgesparse.prune.legacy_keras import keras

    config = model.get_config()
    editor = _Editor(model, config)
    editor.pad_strides(shifting)
    editor.fold_constants()
    editor.flatten_head()
    if not editor.changes:
        copy = keras.models.clone_model(model)
        copy.set_weights(model.get_weights())
        return copy, []
    try:
        rewritten = keras.Model.from_config(config)
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(
            f"{model.name} cannot be built again from its configuration: {str(error).splitlines()[0]}",
            hint="With layers of your own, give a model in which they are registered with Keras.",
        ) from error
    for layer in rewritten.layers:
        if layer.weights:
            old = model.get_layer(layer.name).get_weights()
            wanted = [tuple(weight.shape) for weight in layer.weights]
            fresh = [each.reshape(shape) for each, shape in zip(old, wanted, strict=True)]
            fresh[0] = fresh[0] * np.float32(editor.scales.get(layer.name, 1.0))
            layer.set_weights(fresh)
    return rewritten, editor.changes


class _Editor:
    """Edits the configuration of a functional model; layers keep their names, and so their weights."""

    def __init__(self, model: Any, config: dict[str, Any]) -> None:
        self.changes: list[Change] = []
        # What kernels are to be multiplied by, by layer.
        self.scales: dict[str, float] = {}
        self._config = config
        self._layers = {layer.name: layer for layer in model.layers}
        self._entries = {entry["name"]: entry for entry in config["layers"]}
        self._readers: dict[str, list[str]] = {name: [] for name in self._entries}
        for name, entry in self._entries.items():
            for source in _sources(entry["inbound_nodes"]):
                self._readers[source].append(name)
        self._outputs = {source for source, *_ in _outputs(config["output_layers"])}

    def pad_strides(self, shifting: bool) -> None:
        """Padding on every side, of half the kernel, in front of the strided convolutions that XNNPACK runs."""
        for name, entry in list(self._entries.items()):
            side = self._strided(name)
            if not side:
                continue
            amount, layer = side // 2, self._layers[name]
            (source,) = _sources(entry["inbound_nodes"])
            size = layer.input.shape[1:3]
            if layer.padding == "same":
                keeps = all(extent is not None and extent % 2 == 1 for extent in size)
                if keeps or shifting:
                    self._put_padding(name, source, amount)
                    self._say(name, f"ZeroPadding2D({amount}) and VALID in place of SAME", keeps)
            elif self._entries[source]["class_name"] == "ZeroPadding2D" and shifting:
                wanted = ((amount, amount), (amount, amount))
                found = self._layers[source].padding
                others = [reader for reader in self._readers[source] if self._strided(reader) != side]
                if tuple(map(tuple, found)) != wanted and not others and self._same_size(size, found, amount, side):
                    self._entries[source]["config"]["padding"] = wanted
                    told = "x".join(str(tuple(each)) for each in found)
                    self._say(source, f"padding of {amount} on every side in place of {told}", keeps=False)

    def fold_constants(self) -> None:
        """A scalar that one factor of a product is multiplied by goes into the kernels that read the product."""
        for name, entry in list(self._entries.items()):
            factor = _scalar(entry)
            if factor is None or name in self._outputs or len(self._layers[name].inbound_nodes) != 1:
                continue
            products = self._readers[name]
            kernels = [reader for product in products for reader in self._readers[product]]
            multiply = [each for each in products if self._entries[each]["class_name"] == "Multiply"]
            linear = [each for each in kernels if self._entries[each]["class_name"] in ("Conv2D", "Dense")]
            ends = self._outputs & {*products}
            # A product that reads the factor twice, or a layer that is called twice, would get it twice.
            once = all(len(self._layers[each].inbound_nodes) == 1 for each in (*products, *kernels))
            once &= all(_sources_all(self._entries[each]["inbound_nodes"]).count(name) == 1 for each in products)
            if not products or multiply != products or not kernels or linear != kernels or ends or not once:
                continue
            if len({*kernels}) != len(kernels) or any(self._is_hard_swish(name, product) for product in products):
                continue
            entry["class_name"] = "Activation"
            entry.pop("registered_name", None)
            (source,) = _sources(entry["inbound_nodes"])
            entry["config"] = {"name": name, "trainable": True, "activation": "linear"}
            entry["inbound_nodes"] = [[[source, 0, 0, {}]]]
            for each in kernels:
                self.scales[each] = self.scales.get(each, 1.0) * factor
            self._say(name, f"multiplication by {factor:.4g} folded into {', '.join(kernels)}", keeps=True)

    def _is_hard_swish(self, factor: str, product: str) -> bool:
        """Whether a product is x times a hard sigmoid of x, which the converter makes one operator that fits."""
        name = factor
        for _ in range(3):  # the multiplication, the ReLU6, the addition of 3
            sources = _sources(self._entries[name]["inbound_nodes"])
            if len(sources) != 1:
                return False
            name = sources[0]
        return name in _sources(self._entries[product]["inbound_nodes"])

    def flatten_head(self) -> None:
        """Flatten behind the last global pooling, and fully connected layers in place of 1x1 convolutions."""
        for name, entry in list(self._entries.items()):
            if entry["class_name"] != "GlobalAveragePooling2D" or not entry["config"].get("keepdims"):
                continue
            head = self._behind(name)
            if head is None:
                continue
            self._put_flatten(name)
            self._say(name, "Flatten behind the global pooling", keeps=True)
            for each in head:
                self._flatten_layer(each)

    def _strided(self, name: str) -> int:
        """The side of the kernel of a convolution of stride 2 that XNNPACK can run sparsely; 0 for anything else."""
        layer, kind = self._layers[name], self._entries[name]["class_name"]
        if kind not in ("Conv2D", "DepthwiseConv2D") or len(layer.inbound_nodes) != 1:
            return 0
        side = layer.kernel_size[0]
        fits = tuple(layer.strides) == (2, 2) and layer.kernel_size == (side, side) and layer.dilation_rate == (1, 1)
        if kind == "Conv2D":
            return side if fits and side == 3 and layer.input.shape[-1] == 3 and layer.groups == 1 else 0
        return side if fits and side in (3, 5) and layer.depth_multiplier == 1 else 0

    def _same_size(self, size: Any, found: Any, amount: int, side: int) -> bool:
        """Whether as many pixels come out with padding of `amount`; `size` is what the convolution reads now."""
        unpadded = [None if n is None else n - sum(pads) for n, pads in zip(size, found, strict=True)]
        return all(
            n is not None and (n + 2 * amount - side) // 2 == (padded - side) // 2
            for n, padded in zip(unpadded, size, strict=True)
        )

    def _behind(self, pooling: str) -> list[str] | None:
        """Every layer behind a pooling, if all it gives goes to the output alone through layers that can be flat."""
        found: list[str] = []
        waiting = list(self._readers[pooling])
        while waiting:
            name = waiting.pop(0)
            if name not in found:
                found.append(name)
                waiting += self._readers[name]
        inside = {pooling, *found}
        ordered = [name for name in self._entries if name in found]
        for name in ordered:
            entry, layer = self._entries[name], self._layers[name]
            fits = entry["class_name"] in _HEAD and len(layer.inbound_nodes) == 1
            if entry["class_name"] == "Conv2D":
                fits &= layer.kernel_size == (1, 1) and tuple(layer.strides) == (1, 1) and layer.groups == 1
            if not fits or not set(_sources(entry["inbound_nodes"])) <= inside:
                return None
        # An output of four dimensions has to stay one.
        ends = [name for name in ordered if name in self._outputs]
        flat = all(len(self._layers[name].output.shape) == 2 for name in ends)
        return ordered if ends and flat and pooling not in self._outputs else None

    def _flatten_layer(self, name: str) -> None:
        entry, layer = self._entries[name], self._layers[name]
        config, kind = entry["config"], entry["class_name"]
        if kind == "Conv2D":
            convolution = ("filters", "kernel_size", "strides", "padding", "data_format", "dilation_rate", "groups")
            entry["class_name"] = "Dense"
            kept = {key: value for key, value in config.items() if key not in convolution}
            entry["config"] = {"units": layer.filters, **kept}
            self._say(name, "Dense in place of a 1x1 convolution", keeps=True)
        elif kind == "BatchNormalization":
            config["axis"] = [1]
        elif kind == "Reshape" and len(config["target_shape"]) == 3:
            config["target_shape"] = [config["target_shape"][-1]]

    def _put_padding(self, name: str, source: str, amount: int) -> None:
        pad = self._new_name(f"{name}_pad")
        entry = self._entries[name]
        settings = {"name": pad, "padding": ((amount, amount), (amount, amount)), "data_format": "channels_last"}
        node = entry["inbound_nodes"]
        added = {"class_name": "ZeroPadding2D", "name": pad, "config": settings, "inbound_nodes": node}
        self._insert(added, before=name)
        entry["inbound_nodes"] = [[[pad, 0, 0, {}]]]
        entry["config"]["padding"] = "valid"

    def _put_flatten(self, name: str) -> None:
        """The flattening layer takes the pooling's name, so that all who read that read it."""
        pool = self._new_name(f"{name}_4d")
        entry = self._entries[name]
        pooling = {**entry, "name": pool, "config": {**entry["config"], "name": pool}}
        self._insert(pooling, before=name)
        entry["class_name"] = "Flatten"
        entry.pop("registered_name", None)
        entry["module"] = "keras.layers"
        entry["config"] = {"name": name, "trainable": True, "data_format": "channels_last"}
        entry["inbound_nodes"] = [[[pool, 0, 0, {}]]]

    def _insert(self, entry: dict[str, Any], *, before: str) -> None:
        layers = self._config["layers"]
        layers.insert(layers.index(self._entries[before]), entry)

    def _new_name(self, wanted: str) -> str:
        taken = {entry["name"] for entry in self._config["layers"]}
        return next(name for name in (wanted, *(f"{wanted}_{n}" for n in range(len(taken) + 1))) if name not in taken)

    def _say(self, layer: str, what: str, keeps: bool) -> None:
        self.changes.append(Change(layer=layer, what=what, keeps=keeps))


def _sources(nodes: Any) -> list[str]:
    """The layers that a layer reads, each once, out of its `inbound_nodes`."""
    return list(dict.fromkeys(_sources_all(nodes)))


def _sources_all(nodes: Any) -> list[str]:
    """The layers that a layer reads, as often as it does; the nodes nest differently by kind of layer."""

    def walk(part: Any) -> Iterator[str]:
        if isinstance(part, list | tuple):
            named = len(part) >= 3 and [type(each) for each in part[:3]] == [str, int, int]
            if named and part[0] != "_CONSTANT_VALUE":
                yield part[0]
            for each in part[3:] if named else part:
                yield from walk(each)
        elif isinstance(part, dict):
            for each in part.values():
                yield from walk(each)

    return list(walk(nodes))


def _scalar(entry: dict[str, Any]) -> float | None:
    """The scalar that a layer multiplies what it reads by; None for any other layer."""
    if entry["class_name"] != "TFOpLambda" or entry["config"].get("function") not in ("math.multiply", "multiply"):
        return None
    node = entry["inbound_nodes"][0] if entry["inbound_nodes"] else None
    factor = (
        node[3].get("y") if isinstance(node, list | tuple) and len(node) > 3 and isinstance(node[3], dict) else None
    )
    return float(factor) if isinstance(factor, int | float) and not isinstance(factor, bool) else None


def _outputs(found: Any) -> list[Any]:
    return [found] if found and isinstance(found[0], str) else list(found)


def _apart(one: Any, other: Any) -> float:
    """The greatest difference of two models' outputs on random inputs, relative to the greatest output."""
    shape = [size or 1 for size in one.input_shape[1:]]
    samples = np.random.default_rng(0).random((_SAMPLES, *shape), np.float32)
    first, second = (np.asarray(model(samples, training=False), np.float64) for model in (one, other))
    return float(np.abs(first - second).max() / max(float(np.abs(first).max()), 1e-30))


def _forecast(model: Any, changes: list[Change], difference: float, shift: float) -> Preparation:
    """What the explaining rules say of the model with zeros in all that can be pruned."""
    from collections import Counter

    found = _explained(model)
    summary = found.summaries["xnnpack"]
    weighted = [each for each in found.operators if each.weights]
    dense = Counter(each.paths["xnnpack"].reason for each in weighted if each.paths["xnnpack"].path != "sparse")
    return Preparation(
        changes=changes,
        difference=difference,
        shift=shift,
        board=BOARD,
        zeros=ZEROS,
        path=summary.path,
        sparse_operators=summary.sparse_operators,
        operators=len(weighted),
        left=[Obstacle(reason=reason, operators=count) for reason, count in dense.most_common()],
    )


def _explained(model: Any) -> Explanation:
    from edgesparse.boards.inventory import type_of
    from edgesparse.convert.flatbuffer import read_model
    from edgesparse.explain import explain
    from edgesparse.networks.building import FrozenExporter
    from edgesparse.sparsify import make_recipe
    from edgesparse.sparsify.writing import write_original, write_pruned

    recipe = make_recipe("unstructured", ZEROS)
    with tempfile.TemporaryDirectory(prefix="edgesparse-") as name:
        directory = Path(name)
        file = directory / "model.tflite"
        file.write_bytes(FrozenExporter(model).dense())
        pruned = write_pruned(file, write_original(file, directory), recipe, directory)
        return explain(read_model(directory / pruned.file), type_of(BOARD), backends=["xnnpack"])


def _compile_like(prepared: Any, model: Any) -> None:
    config = model.get_compile_config()
    if config:
        prepared.compile_from_config(config)
