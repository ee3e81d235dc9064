"""What the lab found: `lab.json`. Accuracies and shares are 0..1, bytes are of one kernel unless they say otherwise."""

from __future__ import annotations

from typing import Any

import msgspec

from edgesparse.quantity import Quantity


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """One kernel in one form of storage, really made and decoded.

    `bytes` has values, indices and row pointers apart; `wide_bytes` is the total with 4 bytes for every index and row
    pointer; `ratio` is plain over this one. All are None where the form cannot hold these zeros.
    """

    form: str
    bytes: dict[str, int] | None
    total_bytes: int | None
    wide_bytes: int | None
    ratio: float | None


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One pattern under one backend on the board.

    `shown` is what was measured, as text: median and 95 % interval; `ratio` is dense over this one, `why` says in a
    sentence why it is faster or is not.
    """

    backend: str
    threads: int
    status: str
    shown: str
    median_ms: float | None
    interval_ms: tuple[float, float] | None
    ratio: float | None
    ratio_interval: tuple[float, float] | None
    verdict: str
    path: str
    parity: str
    why: str


class PatternResult(msgspec.Struct, frozen=True, kw_only=True):
    """One pattern, or dense.

    Attributes:
        name: of the variant in the bundle.
        pattern: as in a recipe; "dense".
        shape: of the kernel looked at, outputs first.
        zeros: its share of zeros.
        regularity: see `edgesparse.regularity.regularity`; of dense None.
        skippable: by block, such as "4x1", the share of zeros in all-zero blocks; see there.
        own_form: the form made for this pattern.
        forms: every form.
        index_bits: bits of indices and row pointers for each value that its own form stores.
        file_bytes: of the whole .tflite file; `layer_file_bytes`, `encoding`: of this kernel in it.
        accuracy_pruned: with the zeros and before fine-tuning; of dense None.
        accuracy, accuracy_interval: after, of the .tflite file; its 95 % interval (Wilson, 1927).
        corner: the mask's first rows and columns, a string of 1 (kept) and 0 for each output.
        backends: what was measured.
    """

    name: str
    pattern: str
    shape: tuple[int, ...]
    zeros: float
    regularity: float | None
    skippable: dict[str, float]
    own_form: str
    forms: list[Form]
    index_bits: float
    file_bytes: int
    layer_file_bytes: int
    encoding: str
    accuracy_pruned: float | None
    accuracy: float
    accuracy_interval: tuple[float, float]
    corner: list[str]
    backends: list[Measured]

    def form(self, name: str) -> Form:
        """A form by name."""
        return next(form for form in self.forms if form.form == name)

    @property
    def own(self) -> Form:
        """The form made for this pattern."""
        return self.form(self.own_form)


class Conclusion(msgspec.Struct, frozen=True, kw_only=True):
    """What to conclude about one question, a sentence each; computed from the measured numbers."""

    question: str
    answers: list[str]


class Lab(msgspec.Struct, frozen=True, kw_only=True):
    """One lab.

    Attributes:
        version: of this JSON document.
        quantity: what the board's clock counts.
        layer, shape: whose kernel was looked at, one of `pruned_layers`.
        samples: the held-out ones that accuracies are of.
        patterns: dense first.
        seconds: how long it all took.
    """

    version: int = 1
    created: str
    edgesparse: str
    board: dict[str, Any]
    run: str
    quantity: Quantity
    runtime: str
    sparsity: float
    epochs: int
    pruned_layers: list[str]
    layer: str
    shape: tuple[int, ...]
    samples: int
    patterns: list[PatternResult]
    conclusions: list[Conclusion]
    warnings: list[str]
    toolchain: dict[str, str]
    seconds: float

    @property
    def dense(self) -> PatternResult:
        """What all others are held against."""
        return self.patterns[0]

    @property
    def pruned(self) -> list[PatternResult]:
        """The six patterns."""
        return self.patterns[1:]
