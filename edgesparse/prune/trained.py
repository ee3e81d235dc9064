"""The example's trained network as a directory, trained once and then reused."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgesparse.files import refuse_foreign, replacing, sha256_of
from edgesparse.prune import training
from edgesparse.prune.models import MODEL_FILE, save_model
from edgesparse.prune.training import EpochDone, evaluate

TRAINING_FILE = "training.json"


class _Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: int = 1
    key: str
    accuracy: float
    accuracy_samples: int
    toolchain: dict[str, str]
    model_sha256: str


@dataclass(frozen=True)
class Trained:
    """A trained model on disk; `path` is a directory for `load_model`, `accuracy` is top-1 of held-out samples."""

    path: Path
    accuracy: float
    accuracy_samples: int
    reused: bool


def train_example(
    out: str | Path,
    *,
    progress: Callable[[EpochDone], None] | None = None,
    force: bool = False,
    small: bool = False,
) -> Trained:
    """Train the digits example into the directory `out`, or reuse what is there if code and versions are the same.

    Args:
        out: the directory.
        progress: told at the end of each epoch.
        force: train even so.
        small: the network of `SMALL_PAIRS`.

    Raises:
        UsageError: `out` holds something else.
    """
    from edgesparse.examples import digits
    from edgesparse.prune.legacy_keras import versions

    out = Path(out)
    refuse_foreign(out, TRAINING_FILE)
    toolchain = versions()
    sources = inspect.getsource(digits) + inspect.getsource(training)
    pairs = digits.SMALL_PAIRS if small else digits.PAIRS
    key = hashlib.sha256((sources + repr((pairs, sorted(toolchain.items())))).encode()).hexdigest()
    if not force and (record := _whole(out, key)):
        return Trained(out, record.accuracy, record.accuracy_samples, reused=True)
    model = digits.train(progress, pairs)
    samples = digits.data()
    with replacing(out) as directory:
        save_model(model, directory / MODEL_FILE)
        record = _Record(
            key=key,
            accuracy=evaluate(model, samples),
            accuracy_samples=len(samples.x_test),
            toolchain=toolchain,
            model_sha256=sha256_of(directory / MODEL_FILE),
        )
        (directory / TRAINING_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(record)))
    return Trained(out, record.accuracy, record.accuracy_samples, reused=False)


def _whole(out: Path, key: str) -> _Record | None:
    try:
        record = msgspec.json.decode((out / TRAINING_FILE).read_bytes(), type=_Record)
        return record if record.key == key and record.model_sha256 == sha256_of(out / MODEL_FILE) else None
    except (OSError, msgspec.MsgspecError):
        return None
