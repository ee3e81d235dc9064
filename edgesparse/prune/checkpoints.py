"""Checkpoints of a training: what an epoch left, in one file beside the result, until that is there.

A training that is interrupted, by Ctrl-C or a power cut, goes on from the last whole epoch, and ends with the same
weights to the bit: each epoch's shuffling depends on its number alone, and everything else is in the file.
"""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgesparse.errors import UsageError


@dataclass(frozen=True)
class State:
    """Where a training stands: epochs done, the last one's loss and accuracy; the lowest loss on held-back samples, the
    weights that gave it and how many epochs ago; why it has ended early."""

    epoch: int = 0
    loss: float = float("nan")
    accuracy: float | None = None
    best_loss: float = float("inf")
    waited: int = 0
    reason: str = ""
    best: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Checkpoint:
    """One file, of one training.

    Attributes:
        path: the file.
        key: of all that the training depends on; a file with another is not used.
    """

    path: Path
    key: str

    @classmethod
    def beside(cls, out: Path, part: str, key: str, *, fresh: bool) -> Checkpoint:
        """The checkpoint of a part of the training whose result will be `out`; removed if it is to be fresh."""
        path = out.absolute().parent / f".{out.name}.{part}.checkpoint.npz"
        if fresh:
            path.unlink(missing_ok=True)
        return cls(path, key)

    def load(self, model: Any) -> State:
        """Bring a compiled model to where the last whole epoch left it; the start where there is no such file."""
        try:
            with np.load(self.path, allow_pickle=False) as archive:
                meta = json.loads(str(archive["meta"]))
                if meta.pop("key") != self.key:
                    return State()
                groups = {name: _numbered(archive, name) for name in ("weights", "optimizer", "best")}
        except FileNotFoundError:
            return State()
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):  # half-written by something else: start anew
            return State()
        model.set_weights(groups["weights"])
        for variable, value in zip(model.optimizer.variables, groups["optimizer"], strict=True):
            variable.assign(value)
        return replace(State(**meta), best=groups["best"])

    def save(self, model: Any, state: State) -> None:
        """Keep what an epoch left, in place of the one before.

        Raises:
            UsageError: the file cannot be written.
        """
        meta = {**asdict(replace(state, best=[])), "key": self.key}
        del meta["best"]
        arrays = {"meta": np.asarray(json.dumps(meta))}
        optimizer = [variable.numpy() for variable in model.optimizer.variables]
        for name, group in (("weights", model.get_weights()), ("optimizer", optimizer), ("best", state.best)):
            arrays |= {f"{name}-{number}": array for number, array in enumerate(group)}
        partial = self.path.with_name(f"{self.path.name}.partial")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                np.savez(file, **arrays)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise UsageError(
                f"The checkpoint {self.path} cannot be written: {error.strerror}.",
                hint="Give another place with --out.",
            ) from error


def _numbered(archive: Any, name: str) -> list[Any]:
    count = sum(each.startswith(f"{name}-") for each in archive.files)
    return [archive[f"{name}-{number}"] for number in range(count)]
