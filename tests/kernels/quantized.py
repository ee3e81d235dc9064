"""Small int8 graphs: weights as plain int8 tensors with zeros in them, scales that keep activations in range."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgesparse.convert.flatbuffer import schema
from tests.kernels.graphs import Array, Graph

INPUT = (0.03, -3)  # scale and zero point of the graph's input


class QuantizedGraph(Graph):
    """A graph of int8 operators: they draw their own weights, with whole blocks of zeros.

    Args:
        pattern: the blocks, outputs x inputs of one tap.
        density: the share of blocks that stay.
        per_channel: weights have a scale for each output channel, or one for all.
    """

    def __init__(
        self, *shape: int, pattern: str = "16x4", density: float = 0.25, per_channel: bool = True, seed: int = 0
    ) -> None:
        super().__init__(*shape)
        self.random = np.random.default_rng(seed)
        self.pattern, self.density, self.per_channel = pattern, density, per_channel
        self.deviation = {self.input: 74.0 * INPUT[0]}  # of a tensor's real values, from uniform bytes
        self._quantize(self.input, *INPUT)

    def conv(self, source: int, outputs: int, side: int = 1, *, density: float | None = None, **how: Any) -> int:  # type: ignore[override]
        """CONV_2D of `side` x `side` taps; `how` as of `Graph.conv`."""
        shape = (outputs, side, side, self._shape(source)[-1])
        weights, fan = self._weights(shape, self.density if density is None else density)
        output = super().conv(source, weights, self._bias(outputs), **how)
        return self._finish_layer(source, output, fan, outputs, activation=how.get("activation", "NONE"))

    def depthwise(self, source: int, side: int = 3, *, stride: int = 1, padding: str = "SAME") -> int:  # type: ignore[override]
        """DEPTHWISE_CONV_2D with RELU6."""
        channels = self._shape(source)[-1]
        weights = self._bytes((1, side, side, channels))
        output = super().depthwise(source, weights, self._bias(channels), stride=stride, padding=padding)
        return self._finish_layer(source, output, side * side, channels, dimension=3, activation="RELU6")

    def fully_connected(self, source: int, outputs: int, **how: Any) -> int:  # type: ignore[override]
        """FULLY_CONNECTED; `how` as of `Graph.fully_connected`."""
        weights, fan = self._weights((outputs, self._shape(source)[-1]), self.density)
        output = super().fully_connected(source, weights, self._bias(outputs), **how)
        return self._finish_layer(source, output, fan, outputs, activation=how.get("activation", "NONE"))

    def add(self, one: int, other: int) -> int:
        """ADD of two tensors of one shape."""
        output = super().add(one, other)
        self.deviation[output] = float(np.hypot(self.deviation[one], self.deviation[other]))
        self._quantize(output, self.deviation[output] / 40, 2)
        return output

    def pad(self, source: int, amount: int) -> int:
        """PAD of height and width."""
        batch, height, width, channels = self._shape(source)
        output = self._tensor("pad", (batch, height + 2 * amount, width + 2 * amount, channels))
        amounts = np.array([[0, 0], [amount, amount], [amount, amount], [0, 0]], np.int32)
        self.graph.tensors[output].type = schema().TensorType.INT8
        self.graph.tensors[output].quantization = self.graph.tensors[source].quantization
        self.deviation[output] = self.deviation[source]
        return self._operator("PAD", [source, self._constant("amounts", amounts)], output, schema().PadOptionsT(),
                              "PadOptions")  # fmt: skip

    # -- parts -------------------------------------------------------------------------------------------------------

    def weights(self, values: Array, layout: str = "dense", half: bool = False) -> int:
        """As they are."""
        return self._constant("weights", values)

    def _constant(self, name: str, values: Array, kind: int | None = None, shape: Any = None) -> int:
        return super()._constant(name, values, schema().TensorType.INT8 if values.dtype == np.int8 else kind, shape)

    def _bytes(self, shape: tuple[int, ...]) -> Array:
        return self.random.integers(-127, 128, shape).astype(np.int8)

    def _bias(self, size: int) -> Array:
        return self.random.integers(-3000, 3000, size).astype(np.int32)

    def _weights(self, shape: tuple[int, ...], density: float) -> tuple[Array, float]:
        """int8 weights and the mean number of non-zeros of an output."""
        rows, columns = (int(part) for part in self.pattern.split("x"))
        coarse = (-(-shape[0] // rows), *shape[1:-1], -(-shape[-1] // columns))
        kept = self.random.random(coarse) < density
        kept = kept.repeat(rows, axis=0).repeat(columns, axis=-1)[: shape[0], ..., : shape[-1]]
        weights = self._bytes(shape) * kept
        return weights, max(1.0, float(np.count_nonzero(weights)) / shape[0])

    def _finish_layer(
        self, source: int, output: int, fan: float, channels: int, *, activation: str, dimension: int = 0
    ) -> int:
        """Scales of the weights, the bias and the output of the operator that was added last."""
        operator = self.graph.operators[-1]
        _, weights, bias = operator.inputs
        scales = self.random.uniform(0.002, 0.008, channels if self.per_channel else 1).astype(np.float32)
        input_scale = self.graph.tensors[source].quantization.scale[0]
        self._quantize(weights, scales, np.zeros(len(scales), np.int64), dimension)
        self._quantize(bias, scales * np.float32(input_scale), np.zeros(len(scales), np.int64))
        deviation = float(np.sqrt(fan) * 73.0 * scales.mean()) * self.deviation[source]
        if activation == "RELU6":
            self.deviation[output] = min(deviation / 2, 2.5)
            self._quantize(output, 6 / 255, -128)
        else:
            self.deviation[output] = deviation
            self._quantize(output, deviation / 45, 7)
        self.graph.tensors[output].type = schema().TensorType.INT8
        return output

    def _quantize(self, tensor: int, scale: Any, zero_point: Any, dimension: int = 0) -> None:
        found = schema().QuantizationParametersT()
        found.scale = [float(each) for each in np.atleast_1d(np.asarray(scale, np.float32))]
        found.zeroPoint = [int(each) for each in np.atleast_1d(zero_point)]
        found.quantizedDimension = dimension
        self.graph.tensors[tensor].quantization = found
        if self.graph.tensors[tensor].type == schema().TensorType.FLOAT32:
            self.graph.tensors[tensor].type = schema().TensorType.INT8


@dataclass(frozen=True)
class QuantizedModel:
    """A file and inputs; `claimable` operators have an int8 kernel everywhere, neighbours not counted."""

    file: bytes
    samples: list[Array]
    claimable: int


Build = Callable[[QuantizedGraph], int]


def make(build: Build, shape: tuple[int, ...], claimable: int = 1, **how: Any) -> QuantizedModel:
    """The model of a builder, which returns the output tensor."""
    graph = QuantizedGraph(*shape, **how)
    file = graph.finish(build(graph))
    random = np.random.default_rng(5)
    samples = [random.integers(-128, 128, shape).astype(np.int8) for _ in range(3)]
    return QuantizedModel(file, samples, claimable)


def mobile(graph: QuantizedGraph) -> int:
    """Stem, depthwise and 1x1 convolutions, a residual addition, a strided 3x3 behind a PAD, a head."""
    x = graph.conv(graph.input, 16, 3, density=1, stride=(2, 2), activation="RELU6")
    x = graph.conv(graph.depthwise(graph.conv(x, 64, activation="RELU6"), stride=2), 32)
    y = graph.conv(graph.depthwise(graph.conv(x, 96, activation="RELU6")), 32)
    x = graph.conv(graph.add(x, y), 80, activation="RELU6")
    x = graph.conv(graph.pad(x, 1), 64, 3, stride=(2, 2), padding="VALID", activation="RELU")
    return graph.conv(x, 20)


MODELS: dict[str, Callable[[], QuantizedModel]] = {
    "mobile, 16x4": lambda: make(mobile, (1, 32, 32, 3), 8),
    "mobile, 8x4": lambda: make(mobile, (1, 32, 32, 3), 8, pattern="8x4"),
    "mobile, 4x4, one scale": lambda: make(mobile, (1, 32, 32, 3), 8, pattern="4x4", per_channel=False),
    "1x1, tails everywhere": lambda: make(lambda g: g.conv(g.input, 41, activation="RELU6"), (1, 7, 9, 23)),
    "1x1, batch 3": lambda: make(lambda g: g.conv(g.input, 64), (3, 5, 6, 32)),
    "1x1, stride 2": lambda: make(lambda g: g.conv(g.input, 32, stride=(2, 2)), (1, 9, 9, 32)),
    "1x1, all zero": lambda: make(lambda g: g.conv(g.input, 32, density=0), (1, 5, 5, 16)),
    "1x1, ReLU between -1 and 1": lambda: make(lambda g: g.conv(g.input, 32, activation="RELU_N1_TO_1"), (1, 5, 5, 16)),
    "3x3 SAME": lambda: make(lambda g: g.conv(g.input, 32, 3, activation="RELU"), (1, 13, 11, 16)),
    "3x3 SAME, stride 2": lambda: make(lambda g: g.conv(g.input, 24, 3, stride=(2, 2)), (1, 14, 13, 18)),
    "3x3 VALID, batch 2": lambda: make(lambda g: g.conv(g.input, 32, 3, padding="VALID"), (2, 9, 9, 16)),
    "5x5": lambda: make(lambda g: g.conv(g.input, 20, 5), (1, 12, 10, 12)),
    "connected": lambda: make(lambda g: g.fully_connected(g.input, 77, activation="RELU"), (1, 300)),
    "connected, batch 5": lambda: make(lambda g: g.fully_connected(g.input, 96), (5, 128), per_channel=False),
}
