"""What a benchmark model is: its network, its pattern of zeros, its seed; and the names and labels that say so."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgesparse.errors import UsageError
from edgesparse.patterns import NM, Pattern, Unstructured, parse_pattern

# Family -> (its usual size, the smallest one that its strides leave anything of).
FAMILIES = {
    "mobilenetv1": (224, 32),
    "mobilenetv2": (224, 32),
    "resnet18": (224, 32),
    "resnet50": (224, 32),
    "mlp": (4096, 1),
}

# Families whose stock graph XNNPACK's sparse inference refuses, and which exist in a form that it takes.
CONFORMING = ("mobilenetv1", "mobilenetv2")

DENSE = "dense"
# int8: activations too, quantised after the weights were made; its zeros are never stored sparsely, which no runtime
# reads.
WEIGHT_TYPES = ("float32", "float16", "int8")

_NETWORK = re.compile(r"(?P<family>[a-z]+[a-z0-9]*)-(?P<size>[0-9]{1,5})(?P<conforming>-conforming)?")
_VARIANT = re.compile(r"(?P<pattern>unstructured|filter|block-[0-9]+x[0-9]+)-(?P<percent>[0-9]+(\.[0-9]+)?)")
_NM_VARIANT = re.compile(r"(?P<n>[0-9]+)-of-(?P<m>[0-9]+)")


@dataclass(frozen=True)
class Network:
    """One graph.

    Attributes:
        family: a key of `FAMILIES`.
        size: height and width of the input image; inputs and outputs of every layer of an mlp.
        conforming: strided convolutions are padded by 1 on every side instead of SAME, which XNNPACK's sparse inference
            asks for.
    """

    family: str
    size: int
    conforming: bool = False

    def __str__(self) -> str:
        return f"{self.family}-{self.size}" + ("-conforming" if self.conforming else "")


@dataclass(frozen=True)
class Zeros:
    """Where a model's zeros are: a pattern, and the share of zeros of each pruned layer (None for N:M, which sets it).

    Its text is the variant's name: dense, unstructured-80, block-16x1-90, 2-of-4.
    """

    pattern: Pattern | None = None
    sparsity: float | None = None

    def __str__(self) -> str:
        if self.pattern is None:
            return DENSE
        if isinstance(self.pattern, NM):
            return f"{self.pattern.n}-of-{self.pattern.m}"
        return f"{str(self.pattern).replace(' ', '-')}-{(self.sparsity or 0) * 100:g}"


@dataclass(frozen=True)
class Spec:
    """A benchmark model: all that decides its weights. Its text is the file's stem without the encoding."""

    network: Network
    zeros: Zeros = Zeros()
    seed: int = 0
    weights: str = "float32"

    def __str__(self) -> str:
        half = "" if self.weights == "float32" else f".{self.weights}"
        return f"{self.network}.{self.zeros}{half}" + (f".seed-{self.seed}" if self.seed else "")


def parse_network(name: str) -> Network:
    """The network that a name such as "mobilenetv2-224" or "mobilenetv2-224-conforming" means.

    Raises:
        UsageError: no such network, or a size that its strides leave nothing of.
    """
    found = _NETWORK.fullmatch(name)
    if found is None or found["family"] not in FAMILIES or (found["conforming"] and found["family"] not in CONFORMING):
        raise UsageError(
            f"There is no network {name!r}.",
            hint=f"There are {', '.join(names())}; each also of another size, such as mobilenetv2-96 or mlp-512.",
        )
    family, size = found["family"], int(found["size"])
    smallest = FAMILIES[family][1]
    if size < smallest:
        raise UsageError(
            f"Expected a size of at least {smallest} for {family}, found {size}.", hint="Give a larger one."
        )
    return Network(family, size, bool(found["conforming"]))


def names() -> list[str]:
    """Every network of its usual size."""
    usual = [f"{family}-{size}" for family, (size, _) in FAMILIES.items()]
    return usual + [f"{family}-{FAMILIES[family][0]}-conforming" for family in CONFORMING]


def make_zeros(pattern: str, sparsity: float | None) -> Zeros:
    """Zeros from a pattern's text ("dense", "unstructured", "block 16x1" or "block-16x1", "2:4") and a sparsity.

    Raises:
        RecipeError: no such pattern. UsageError: a sparsity where there is none to choose, none where there is, or out
            of range.
    """
    parsed = None if pattern == DENSE else parse_pattern(pattern.replace("-", " "))
    if parsed is None or isinstance(parsed, NM):
        if sparsity is not None:
            raise UsageError(
                f"Expected no sparsity for {pattern}, which sets its own, found {sparsity:g}.",
                hint="Leave it out, or take another pattern.",
            )
        return Zeros(parsed)
    if sparsity is None or not 0 <= sparsity < 1:
        found = "none" if sparsity is None else f"{sparsity:g}"
        raise UsageError(
            f"Expected a sparsity of at least 0 and below 1 for {pattern}, found {found}.",
            hint="Example: --pattern unstructured --sparsity 0.8",
        )
    return Zeros(parsed, sparsity)


def parse_variant(text: str) -> Zeros:
    """The inverse of `str(Zeros)`: "dense", "unstructured-80", "block-16x1-90", "2-of-4".

    Raises:
        UsageError: no such variant.
    """
    if text == DENSE:
        return Zeros()
    if found := _NM_VARIANT.fullmatch(text):
        return make_zeros(f"{found['n']}:{found['m']}", None)
    if found := _VARIANT.fullmatch(text):
        return make_zeros(found["pattern"], float(found["percent"]) / 100)
    raise UsageError(
        f"There is no variant {text!r}.",
        hint="Examples: dense, unstructured-80, block-16x1-90 (per cent of zeros), 2-of-4.",
    )


def is_dense(zeros: Zeros) -> bool:
    """Whether nothing is pruned."""
    return zeros.pattern is None or (isinstance(zeros.pattern, Unstructured) and not zeros.sparsity)


def stored_sparsely(spec: Spec) -> bool:
    """Whether there is a file with sparse encodings: there are zeros, and runtimes read such files right."""
    return not is_dense(spec.zeros) and spec.weights != "int8"
