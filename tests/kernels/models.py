"""Whole models that between them have every operator, shape and layout of weights that the kernels meet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.kernels.graphs import LAYOUTS, Array, Graph


@dataclass(frozen=True)
class Model:
    """A file, its twin with all weights stored dense as float32, and inputs.

    `claimable` is how many operators the delegate can run; `listed` how many it reports on.
    """

    file: bytes
    twin: bytes
    samples: list[Array]
    claimable: int
    listed: int


class Maker:
    """Draws weights and inputs; makes the file or, with `twin`, the dense one of the same weights."""

    def __init__(self, layout: str, half: bool, twin: bool, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.half = half
        self.how: dict[str, Any] = {"layout": "dense", "half": False} if twin else {"layout": layout, "half": half}

    def weights(self, *shape: int, density: float = 0.2, pattern: str = "unstructured") -> Array:
        """Outputs first. Scaled so that activations stay near one."""
        fan = max(1.0, float(np.prod(shape[1:])) * max(density, 0.05))
        values = self.random.normal(size=shape) / np.sqrt(fan) * self.mask(shape, density, pattern)
        return np.asarray(values.astype(np.float16 if self.half else np.float32).astype(np.float32))

    def mask(self, shape: tuple[int, ...], density: float, pattern: str) -> Array:
        """True where a weight stays: single ones, blocks of consecutive outputs or inputs, or 2 of 4 inputs."""
        if pattern == "2:4":
            groups = self.random.random((*shape[:-1], shape[-1] // 4, 4))
            return (groups.argsort(axis=-1).argsort(axis=-1) < 2).reshape(shape)
        outputs, inputs = (int(part) for part in pattern.split("x")) if "x" in pattern else (1, 1)
        coarse = (-(-shape[0] // outputs), *shape[1:-1], -(-shape[-1] // inputs))
        kept = self.random.random(coarse) < density
        return kept.repeat(outputs, axis=0).repeat(inputs, axis=-1)[: shape[0], ..., : shape[-1]]

    def bias(self, size: int) -> Array:
        return self.random.normal(size=size, scale=0.3).astype(np.float32)


Build = Callable[[Maker, Graph], tuple[int, ...]]


def make(
    build: Build, shape: tuple[int, ...], claimable: int, listed: int | None = None, *, layout: str = "dense",
    half: bool = False,
) -> Model:  # fmt: skip
    """The model of a builder, which gets the same weights for the file and the twin."""
    files = []
    for twin in (False, True):
        graph = Graph(*shape)
        files.append(graph.finish(*build(Maker(layout, half, twin), graph)))
    random = np.random.default_rng(99)
    samples = [random.normal(size=shape).astype(np.float32) for _ in range(2)]
    return Model(files[0], files[1], samples, claimable, claimable if listed is None else listed)


# -- what every layout of weights goes through -------------------------------------------------------------------------


def pattern_for(layout: str) -> str:
    """Zeros in the shape that a layout can leave out."""
    return layout.removeprefix("block ") if layout.startswith("block ") else "4x1" if "blocks" in layout else "1x1"


def stored(layout: str, half: bool = False) -> Model:
    """A 1x1 and a 3x3 convolution and a fully connected layer, all stored in one layout."""
    pattern = pattern_for(layout)

    def build(maker: Maker, graph: Graph) -> tuple[int, ...]:
        x = graph.conv(graph.input, maker.weights(32, 1, 1, 16, pattern=pattern), maker.bias(32),
                       activation="RELU6", **maker.how)  # fmt: skip
        x = graph.conv(x, maker.weights(48, 3, 3, 32, pattern=pattern), maker.bias(48), stride=(2, 2),
                       activation="RELU", **maker.how)  # fmt: skip
        x = graph.pool(x)
        return (graph.fully_connected(x, maker.weights(32, 48, pattern=pattern), maker.bias(32), **maker.how),)

    return make(build, (1, 9, 10, 16), 3, layout=layout, half=half)


# -- one operator each, with awkward sizes -----------------------------------------------------------------------------


def conv(
    shape: tuple[int, ...], kernel: tuple[int, ...], *, density: float = 0.25, pattern: str = "unstructured",
    bias: bool = True, **options: Any,
) -> Model:  # fmt: skip
    """A single convolution."""

    def build(maker: Maker, graph: Graph) -> tuple[int, ...]:
        weights = maker.weights(*kernel, density=density, pattern=pattern)
        return (graph.conv(graph.input, weights, maker.bias(kernel[0]) if bias else None, **options, **maker.how),)

    return make(build, shape, 1)


def fully_connected(
    shape: tuple[int, ...], outputs: int, *, density: float = 0.25, pattern: str = "unstructured", bias: bool = True,
    **options: Any,
) -> Model:  # fmt: skip
    """A single fully connected layer."""

    def build(maker: Maker, graph: Graph) -> tuple[int, ...]:
        weights = maker.weights(outputs, shape[-1], density=density, pattern=pattern)
        how = {**options, **maker.how}
        return (graph.fully_connected(graph.input, weights, maker.bias(outputs) if bias else None, **how),)

    return make(build, shape, 1)


# -- graphs that mix what is claimed with what is not ------------------------------------------------------------------


def mobile(layout: str = "csr", pattern: str = "1x1", density: float = 0.2, size: int = 32) -> Model:
    """Stem, depthwise and 1x1 convolutions, a residual ADD, global pooling, a head: stock MobileNetV2 in small."""

    def build(maker: Maker, graph: Graph) -> tuple[int, ...]:
        def point(x: int, outputs: int, inputs: int, activation: str = "RELU6") -> int:
            weights = maker.weights(outputs, 1, 1, inputs, density=density, pattern=pattern)
            return graph.conv(x, weights, maker.bias(outputs), activation=activation, **maker.how)

        def depthwise(x: int, channels: int, stride: int = 1) -> int:
            return graph.depthwise(x, maker.weights(1, 3, 3, channels, density=1), maker.bias(channels), stride=stride)

        stem = maker.weights(16, 3, 3, 3, density=1)
        x = graph.conv(graph.input, stem, maker.bias(16), stride=(2, 2), activation="RELU6")
        x = point(depthwise(point(x, 64, 16), 64, 2), 32, 64, "NONE")
        x = graph.add(x, point(depthwise(point(x, 96, 32), 96), 32, 96, "NONE"))
        x = graph.pool(point(x, 64, 32))
        head = maker.weights(16, 64, density=density, pattern=pattern)
        return (graph.fully_connected(x, head, maker.bias(16), **maker.how),)

    return make(build, (1, size, size, 3), 7, layout=layout)


def shared_weights(claimable_reader: bool = True) -> Model:
    """One DENSIFY that two convolutions read; the second one may be dilated, which no kernel of ours runs."""

    def build(maker: Maker, graph: Graph) -> tuple[int, ...]:
        weights, bias = maker.weights(24, 3, 3, 24), maker.bias(24)
        tensor = graph.weights(weights, **maker.how)
        x = graph.conv(graph.input, weights, bias, shared=tensor, activation="RELU")
        return (graph.conv(x, weights, bias, shared=tensor, dilation=1 if claimable_reader else 2),)

    return make(build, (1, 8, 8, 24), 2 if claimable_reader else 1, 2, layout="csr")


def two_outputs() -> Model:
    """A convolution whose output is the graph's, and is read by another one."""

    def build(maker: Maker, graph: Graph) -> tuple[int, ...]:
        x = graph.conv(graph.input, maker.weights(32, 1, 1, 16), maker.bias(32), activation="RELU", **maker.how)
        return x, graph.conv(x, maker.weights(16, 3, 3, 32), maker.bias(16), padding="VALID", **maker.how)

    return make(build, (1, 6, 7, 16), 2, layout="csr")


def dilated() -> Model:
    """A dilated convolution, which is left alone, behind one that can be claimed."""

    def build(maker: Maker, graph: Graph) -> tuple[int, ...]:
        x = graph.conv(graph.input, maker.weights(16, 3, 3, 16), maker.bias(16), **maker.how)
        return (graph.conv(x, maker.weights(16, 3, 3, 16), maker.bias(16), dilation=2, **maker.how),)

    return make(build, (1, 9, 9, 16), 1, 2, layout="csr")


def grouped() -> Model:
    """A grouped convolution, which is left alone."""

    def build(maker: Maker, graph: Graph) -> tuple[int, ...]:
        return (graph.conv(graph.input, maker.weights(32, 3, 3, 8), maker.bias(32), **maker.how),)

    return make(build, (1, 7, 7, 16), 0, 1)


def dense() -> Model:
    """Nothing sparse in it."""
    return mobile(layout="dense", density=1)


MODELS: dict[str, Callable[[], Model]] = {
    **{f"stored as {layout}": (lambda layout=layout: stored(layout)) for layout in LAYOUTS},  # type: ignore[misc]
    "half, stored dense": lambda: stored("dense", half=True),
    "half, stored as csr": lambda: stored("csr", half=True),
    "half, stored as block 8x1": lambda: stored("block 8x1", half=True),
    "1x1, tails everywhere": lambda: conv((1, 7, 9, 23), (41, 1, 1, 23), activation="RELU6"),
    "1x1, one pixel": lambda: conv((1, 1, 1, 64), (32, 1, 1, 64)),
    "1x1, one output": lambda: conv((1, 5, 5, 64), (1, 1, 1, 64), density=0.5),
    "1x1, stride 2": lambda: conv((1, 9, 9, 32), (32, 1, 1, 32), stride=(2, 2)),
    "1x1, batch 3": lambda: conv((3, 5, 6, 32), (32, 1, 1, 32), pattern="16x1"),
    "1x1, 2:4": lambda: conv((1, 12, 12, 64), (64, 1, 1, 64), pattern="2:4"),
    "1x1, all zero": lambda: conv((1, 5, 5, 16), (32, 1, 1, 16), density=0, activation="RELU"),
    "1x1, no zeros": lambda: conv((1, 5, 5, 16), (32, 1, 1, 16), density=1),
    "1x1, ReLU between -1 and 1": lambda: conv((1, 5, 5, 16), (32, 1, 1, 16), activation="RELU_N1_TO_1"),
    "3x3 SAME": lambda: conv((1, 13, 11, 16), (32, 3, 3, 16), activation="RELU"),
    "3x3 SAME, stride 2, odd": lambda: conv((1, 15, 13, 16), (24, 3, 3, 16), stride=(2, 2)),
    "3x3 SAME, stride 2, even": lambda: conv((1, 14, 12, 16), (24, 3, 3, 16), stride=(2, 2), pattern="8x1"),
    "3x3 VALID": lambda: conv((1, 13, 11, 16), (32, 3, 3, 16), padding="VALID", pattern="16x1"),
    "3x3, smaller than the kernel": lambda: conv((1, 2, 2, 16), (32, 3, 3, 16)),
    "3x3, batch 2": lambda: conv((2, 9, 9, 16), (32, 3, 3, 16), pattern="16x1"),
    "3x3, 2:4": lambda: conv((1, 9, 9, 32), (32, 3, 3, 32), pattern="2:4"),
    "5x3, stride 3x1": lambda: conv((1, 17, 9, 12), (20, 5, 3, 12), stride=(3, 1)),
    "7x7, stride 2, 3 channels": lambda: conv((1, 32, 32, 3), (64, 7, 7, 3), stride=(2, 2), pattern="16x1"),
    "more than 65535 inputs": lambda: conv((1, 5, 5, 8192), (16, 3, 3, 8192), density=0.01),
    "connected": lambda: fully_connected((1, 300), 77, activation="RELU"),
    "connected, batch 5": lambda: fully_connected((5, 128), 96, pattern="16x1"),
    "connected, no bias": lambda: fully_connected((1, 64), 32, bias=False),
    "connected, 2:4": lambda: fully_connected((1, 256), 128, pattern="2:4"),
    "connected, 3 dimensions kept": lambda: fully_connected((2, 3, 64), 48, keep_dimensions=True),
    "connected, more than 65535 inputs": lambda: fully_connected((1, 70_000), 16, density=0.02),
    "mobile": mobile,
    "mobile, 16x1": lambda: mobile("block 16x1", "16x1"),
    "mobile, dense": dense,
    "shared weights": shared_weights,
    "shared weights, one reader left": lambda: shared_weights(False),
    "two outputs": two_outputs,
    "dilated": dilated,
    "grouped": grouped,
}
