"""What the TFLite runtimes do differently, as far as it decides about sparse execution.

Read in the sources of TFLite's XNNPACK delegate and of XNNPACK (`src/subgraph.c`) and checked against what the wheels
of the versions named here do: ai-edge-litert on an x86-64 CPU without AVX, tflite-runtime on ARM64.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgesparse.errors import UsageError

# Operators that both runtimes give to XNNPACK when all their tensors are float.
_DELEGATED = frozenset(
    (
        "ABS",
        "ADD",
        "AVERAGE_POOL_2D",
        "BATCH_MATMUL",
        "CEIL",
        "CONCATENATION",
        "CONV_2D",
        "DENSIFY",
        "DEPTH_TO_SPACE",
        "DEPTHWISE_CONV_2D",
        "DEQUANTIZE",
        "DIV",
        "ELU",
        "EXPAND_DIMS",
        "FLOOR",
        "FULLY_CONNECTED",
        "HARD_SWISH",
        "LEAKY_RELU",
        "LOGISTIC",
        "MAXIMUM",
        "MAX_POOL_2D",
        "MEAN",
        "MINIMUM",
        "MUL",
        "NEG",
        "PAD",
        "PRELU",
        "QUANTIZE",
        "RELU",
        "RELU6",
        "RELU_N1_TO_1",
        "RESHAPE",
        "RESIZE_BILINEAR",
        "ROUND",
        "SLICE",
        "SOFTMAX",
        "SPACE_TO_DEPTH",
        "SPLIT",
        "SQRT",
        "SQUARE",
        "SQUARED_DIFFERENCE",
        "STRIDED_SLICE",
        "SUB",
        "SUM",
        "TANH",
        "TRANSPOSE",
        "TRANSPOSE_CONV",
    )
)
# Element-wise operators on one tensor that both can run channel-major.
_UNARY = frozenset(
    (
        "ABS",
        "CEIL",
        "ELU",
        "FLOOR",
        "HARD_SWISH",
        "LEAKY_RELU",
        "LOGISTIC",
        "NEG",
        "RELU",
        "RELU6",
        "RELU_N1_TO_1",
        "ROUND",
        "SQUARE",
    )
)


@dataclass(frozen=True)
class Runtime:
    """One runtime's rules.

    Attributes:
        name: the package, as on PyPI.
        verified: the version whose behaviour was checked.
        delegated: operators that XNNPACK takes.
        unary: one-input operators that may lie inside a sparse cluster.
        reductions: operators over height and width that may end one.
        any_axes: XNNPACK takes reductions over other dimensions too.
        fully_connected_inside: FULLY_CONNECTED may lie inside one, and then runs sparse.
        sparse_without_avx: XNNPACK goes sparse on x86 CPUs without AVX.
        integers: XNNPACK takes int8 and dynamic-range operators too.
        static_only: one operator whose shape is computed at run time keeps XNNPACK off the whole graph.
        reduction_loses_shape: a reduction that keeps its dimensions permutes its output's shape inside a cluster.
        repeated_input_branches: an operator that reads the same tensor twice counts as two readers.
        newest: the newest version of an operator that it knows, where models can have a newer one.
        scales_of_sparse: TFLite's sparse int8 kernel knows a scale for each output.
    """

    name: str
    verified: str
    delegated: frozenset[str]
    unary: frozenset[str]
    reductions: frozenset[str]
    any_axes: bool
    fully_connected_inside: bool
    sparse_without_avx: bool
    integers: bool
    static_only: bool
    reduction_loses_shape: bool
    repeated_input_branches: bool
    newest: dict[str, int]
    scales_of_sparse: bool


RUNTIMES = {
    "ai-edge-litert": Runtime(
        name="ai-edge-litert",
        verified="2.3.0",
        delegated=_DELEGATED | frozenset(("COS", "EXP", "GELU", "LOG", "REDUCE_MAX", "REDUCE_MIN", "RSQRT", "SIN")),
        unary=_UNARY | frozenset(("COS", "EXP", "GELU", "LOG", "RSQRT", "SIN", "SQRT", "TANH")),
        reductions=frozenset({"MEAN", "SUM"}),
        any_axes=True,
        fully_connected_inside=True,
        sparse_without_avx=True,
        integers=True,
        static_only=False,
        reduction_loses_shape=True,
        repeated_input_branches=True,
        newest={},
        scales_of_sparse=True,
    ),
    "tflite-runtime": Runtime(
        name="tflite-runtime",
        verified="2.14.0",
        delegated=_DELEGATED,
        unary=_UNARY,
        reductions=frozenset({"MEAN"}),
        any_axes=False,
        fully_connected_inside=False,
        sparse_without_avx=False,
        integers=False,
        static_only=True,
        reduction_loses_shape=False,
        repeated_input_branches=False,
        newest={"FULLY_CONNECTED": 11},
        scales_of_sparse=False,
    ),
}


def runtime_named(name: str) -> Runtime:
    """The rules of a runtime by its package name.

    Raises:
        UsageError: no rules for it.
    """
    if name not in RUNTIMES:
        raise UsageError(f"There are no rules for the runtime {name!r}.", hint=f"There are: {', '.join(RUNTIMES)}.")
    return RUNTIMES[name]
