"""Golden inputs and outputs, and the accuracy of a .tflite file as the runtime gives it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgesparse.agent import backends
from edgesparse.agent.worker import Model
from edgesparse.convert.flatbuffer import DTYPES, FlatModel
from edgesparse.errors import ModelError

Array = npt.NDArray[Any]

SAMPLES = 8
SEED = 20_240_229

# The runtime that every board can have; the built-in kernels are the reference, without any delegate. Int8 sums they
# round in a way of their own; there the reference is XNNPACK, which runs int8 models everywhere else.
RUNTIME = "ai-edge-litert"
REFERENCE_BACKEND = "builtin"
QUANTISED_BACKEND = "xnnpack"


def sample_inputs(found: FlatModel, inputs: Array | None) -> list[Array]:
    """Golden inputs for a model: one array per input, (SAMPLES, *input shape), the batch of 1 included.

    Args:
        found: the model.
        inputs: held-out data, samples along axis 0, from which SAMPLES are taken at even distances; without it they are
            drawn from a seeded generator: floats between 0 and 1, all values of a quantised type alike, other integers
            0 or 1.

    Raises:
        ModelError: the data does not have the shape of the model's only input; inputs that cannot be drawn.
    """
    details = input_details(found)
    if inputs is not None:
        chosen = np.linspace(0, len(inputs) - 1, SAMPLES).round().astype(int)
        return [as_input(inputs[chosen], details)]
    generator = np.random.default_rng(SEED)
    drawn = []
    for detail in details:
        shape, dtype = (SAMPLES, *detail["shape"]), np.dtype(detail["dtype"])
        values: Array
        if dtype.kind == "f":
            values = generator.random(shape)
        elif len(detail["quantization_parameters"]["scales"]):
            limits = np.iinfo(dtype)
            values = generator.integers(limits.min, limits.max, shape, endpoint=True)
        else:
            values = generator.integers(0, 2, shape)
        drawn.append(values.astype(dtype))
    return drawn


def input_details(found: FlatModel) -> list[dict[str, Any]]:
    """Shape, type and scales of each input, in the words of the interpreter's `get_input_details`.

    Raises:
        ModelError: the model has no input, or one of a type that is no number.
    """
    tensors = [found.tensors[index] for index in found.inputs]
    if strange := [tensor for tensor in tensors if tensor.type not in DTYPES]:
        raise ModelError(
            f"{found.source} takes {strange[0].type} at its input {strange[0].name}; expected numbers.",
            hint="Give a model without operators that take this type.",
        )
    if not tensors or not found.outputs:
        raise ModelError(
            f"{found.source} has {len(tensors)} inputs and {len(found.outputs)} outputs: there is nothing to compare.",
            hint="Give a model that computes something of its inputs.",
        )
    return [
        {
            "shape": tuple(max(size, 1) for size in tensor.shape),
            "dtype": DTYPES[tensor.type],
            "quantization_parameters": {"scales": tensor.scale, "zero_points": tensor.zero_point},
        }
        for tensor in tensors
    ]


def golden_outputs(file: Path, samples: list[Array], backend: str = REFERENCE_BACKEND) -> list[Array]:
    """A file's outputs under the reference kernels, or those of another backend: one array per output, (samples,
    *output shape).

    Raises:
        ModelError: the runtime refuses the file.
    """
    return list(_load(file, backend).run_all(samples))


def accuracy(file: Path, inputs: Array, labels: Array) -> float | None:
    """The share of samples whose largest output is at their label; None for a model that is no classifier, such as one
    whose outputs have another shape for other data.

    Every sample goes through the file as a board would run it, one by one under XNNPACK.

    Args:
        file: a .tflite file.
        inputs: (n, *sample shape).
        labels: (n,) or (n, 1) class numbers, or (n, classes) one-hot.
    """
    model = _load(file, "xnnpack")
    outputs = model.interpreter.get_output_details()
    classes = int(np.prod(outputs[0]["shape"]))
    truth = _class_numbers(labels, classes)
    if len(outputs) != 1 or classes < 2 or truth is None:
        return None
    (scores,) = model.run_all([as_input(inputs, model.interpreter.get_input_details())])
    if scores.size != len(truth) * classes:
        return None
    return float(np.mean(scores.reshape(len(truth), classes).argmax(axis=1) == truth))


def as_input(inputs: Array, details: list[Any]) -> Array:
    """Samples (n, *sample shape) as a model with one input takes them: (n, *input shape), of its type.

    For a quantised input they are floats, which `Model` quantises when it is given them.

    Raises:
        ModelError: the model has several inputs, or one of another shape.
    """
    shape = tuple(int(size) for size in details[0]["shape"])
    if len(details) != 1 or inputs.shape[1:] != shape[1:] or shape[0] != 1:
        expected = " and ".join(str([int(size) for size in detail["shape"][1:]]) for detail in details)
        raise ModelError(
            f"The model takes samples of shape {expected}, the data has samples of shape {list(inputs.shape[1:])}.",
            hint="Give data of the shape that the model was trained on, or convert without data.",
        )
    quantised = len(details[0]["quantization_parameters"]["scales"])
    return inputs.reshape(len(inputs), *shape).astype(np.float32 if quantised else details[0]["dtype"])


def _class_numbers(labels: Array, classes: int) -> Array | None:
    if labels.ndim == 2 and labels.shape[1] == classes:
        return np.asarray(labels.argmax(axis=1))
    if labels.ndim == 1 or labels.shape[1:] == (1,):
        return labels.reshape(-1) if labels.dtype.kind in "iu" else None
    return None


def _load(file: Path, backend: str) -> Model:
    runtime, _ = backends.load_runtime(RUNTIME)
    try:
        return Model(runtime, str(file), backend, 1)
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            f"{RUNTIME} refuses {file.name}: {error}",
            hint="Report this with the model: the converter wrote a bad file.",
        ) from None
