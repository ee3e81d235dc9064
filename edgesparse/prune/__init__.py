"""Pruning Keras 2 models with TensorFlow Model Optimization, and with our masks where it has none."""

from __future__ import annotations

from edgesparse.prune.data import Data, load_data
from edgesparse.prune.models import load_model, save_model
from edgesparse.prune.pruning import Pruned, prune
from edgesparse.prune.report import LayerReport, PruningReport, read_report
from edgesparse.prune.trained import Trained, train_example
from edgesparse.prune.training import EpochDone, evaluate

__all__ = [
    "Data",
    "EpochDone",
    "LayerReport",
    "Pruned",
    "PruningReport",
    "Trained",
    "evaluate",
    "load_data",
    "load_model",
    "prune",
    "read_report",
    "save_model",
    "train_example",
]
