"""What an explanation says: per operator and backend the path that will be taken, why, and what would change it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Path = Literal["sparse", "dense", "wrong", "fails", ""]


class PathForecast(msgspec.Struct, frozen=True, kw_only=True):
    """What one backend does with one operator.

    `path`: "sparse" skips zeros; "dense" does not; "wrong" computes wrong values; "fails" stops the interpreter from
    starting; "" for an operator without weights. `kernel` names what runs. `spoiler` is the operator at fault, if it is
    another one than this.
    """

    path: Path
    kernel: str
    reason: str
    cure: str = ""
    spoiler: int | None = None


class OperatorForecast(msgspec.Struct, frozen=True, kw_only=True):
    """One operator of the graph.

    `shape` is that of its weights, outputs first: (out, in) or (out, kh, kw, in), of the largest where it has several,
    as an LSTM; for one without weights that of its output. `zeros` is the share of weights that are zero, `macs`
    the multiply-accumulates of one dense inference.
    `zero_blocks` is, of int8 weights, the share of blocks that are all zero, in the block that fits the board.
    """

    index: int
    op: str
    name: str
    shape: tuple[int, ...]
    weights: int
    zeros: float
    macs: int
    type: str
    encoding: str
    paths: dict[str, PathForecast]
    zero_blocks: float | None = None


class BackendSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One backend over the whole model.

    `path` is what a run will show: "fails" if the interpreter does not start, "wrong" if outputs will not match, else
    "sparse" if any operator skips its zeros, else "dense". Shares are of the model's multiply-accumulates and weights.
    """

    backend: str
    runtime: str
    path: Path
    operators: int
    sparse_operators: int
    sparse_macs_share: float
    sparse_weights_share: float
    sparse_density: float | None
    reason: str


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to do, the backends and operators that it is for, and their share of the multiply-accumulates."""

    text: str
    backends: list[str]
    operators: list[int]
    macs_share: float


class Storage(msgspec.Struct, frozen=True, kw_only=True):
    """What a file with int8 weights costs, whole, in bytes: as it is, weights stored dense; as it would be with
    TFLite's encoding of single values where that is smaller; and compressed by zstd at level 19."""

    file_bytes: int
    sparse_bytes: int
    zstd_bytes: int


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What a model will do on a kind of board. `block_int8` is the block that `zero_blocks` are counted in; `storage`
    is None for a model without int8 weights."""

    model: str
    board: str
    arch: str
    isa: list[str]
    runtime: str
    weights: int
    density: float
    macs: int
    operators: list[OperatorForecast]
    summaries: dict[str, BackendSummary]
    advice: list[Advice]
    notes: list[str]
    block_int8: str = ""
    storage: Storage | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values."""
        return dict(msgspec.to_builtins(self))

    def path(self, backend: str) -> Path:
        """The path that the whole model takes under a backend."""
        return self.summaries[backend].path
