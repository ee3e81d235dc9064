"""TF-MOT's pruning wrapper, taught the patterns that it refuses.

One wrapper carries every pattern: the same schedule, step counter, mask variables, re-masking callback and stripping,
whether TF-MOT's code or `patterns.mask` chooses the zeros. This is the one place where TF-MOT's orders are used: its
`block_size` is (inputs, outputs), and its `sparsity_m_by_n` counts zeros.

Method: M. Zhu and S. Gupta, "To prune, or not to prune", 2017 (gradual magnitude pruning), as implemented by TF-MOT.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesparse import patterns
from edgesparse.prune.legacy_keras import pruning_impl, pruning_schedule, pruning_wrapper, tf
from edgesparse.recipe import Schedule


class PatternWrapper(pruning_wrapper.PruneLowMagnitude):  # type: ignore[misc]
    """`PruneLowMagnitude` for any `Pattern`; `engine` is whose code chooses the zeros ("tfmot" or "edgesparse")."""

    def __init__(
        self,
        layer: Any,
        pruning_schedule: Any,
        pattern: patterns.Pattern,
        engine: str,
        together: Together | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(layer, pruning_schedule=pruning_schedule, **kwargs)
        self.pattern = pattern
        self.engine = engine
        self.together = together
        if together is not None:
            together.layers[self.name] = layer

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.pruning_obj = PatternPruning(
            self.pattern,
            self.engine,
            None if self.together is None else partial(self.together.mask_of, self.name),
            training_step_fn=lambda: self.pruning_step,
            pruning_vars=self.pruning_vars,
            pruning_schedule=self.pruning_schedule,
        )

    def kept(self) -> NDArray[np.bool_]:
        """The mask, outputs-first: True where a weight is kept."""
        ((_, mask, _),) = self.pruning_vars
        kept: NDArray[np.bool_] = patterns.from_keras(mask.numpy()) != 0
        return kept


class Together:
    """The masks of several layers under one threshold, chosen once for each step at which they are updated.

    Attributes:
        layers: those that share it, by their wrapper's name; each has its kernel.
    """

    def __init__(self, pattern: patterns.Pattern) -> None:
        self.layers: dict[str, Any] = {}
        self._pattern = pattern
        self._lock = Lock()  # layers update their masks in the forward pass, in threads of TensorFlow's
        self._step = -1
        self._masks: dict[str, patterns.Mask] = {}

    def mask_of(self, name: str, step: int, sparsity: float) -> patterns.Mask:
        """The mask of a layer, outputs first, at a training step; the first to ask has all of them chosen."""
        with self._lock:
            if step != self._step:
                kernels = {each: patterns.from_keras(layer.kernel.numpy()) for each, layer in self.layers.items()}
                if not all(np.isfinite(kernel).all() for kernel in kernels.values()):  # `fit` stops at the loss
                    return np.ones(kernels[name].shape, np.bool_)
                self._masks = patterns.global_masks(kernels, self._pattern, sparsity)
                self._step = step
            return self._masks[name]


class PatternPruning(pruning_impl.Pruning):  # type: ignore[misc]
    """TF-MOT's mask updates; each new mask is finished, or made, by `patterns`."""

    def __init__(
        self,
        pattern: patterns.Pattern,
        engine: str,
        together: Callable[[int, float], patterns.Mask] | None = None,
        **kwargs: Any,
    ) -> None:
        self._pattern = pattern
        self._engine = engine
        self._together = together
        block_size = (1, 1)
        self._zeros_of: tuple[int, int] | None = None
        if isinstance(pattern, patterns.Block):
            block_size = (pattern.cols, pattern.rows)
        elif isinstance(pattern, patterns.NM):
            # Given to the base class it would ignore the schedule and choose the zeros once, at step 1.
            self._zeros_of = (pattern.m - pattern.n, pattern.m)
        super().__init__(block_size=block_size, block_pooling_type="AVG", sparsity_m_by_n=None, **kwargs)

    def _validate_block(self) -> None:
        """Nothing to refuse: `layers.choose` has asked `patterns.misfit`, and no block on a Conv2D comes to TF-MOT."""

    def _maybe_update_block_mask(self, weights: Any) -> tuple[Any, Any]:
        sparsity = self._pruning_schedule(self._step_fn())[1]
        threshold: Any = tf.zeros([], weights.dtype)
        if self._together is not None:
            finished = tf.numpy_function(self._share, [self._step_fn(), sparsity], tf.bool)
        elif self._engine == "edgesparse":
            finished = tf.numpy_function(self._make, [weights, sparsity], tf.bool)
        else:
            if self._zeros_of is not None:
                mask = self._update_mask_sparsity_m_by_n(weights, self._zeros_of)
            else:
                threshold, mask = super()._maybe_update_block_mask(weights)
            finished = tf.numpy_function(self._finish, [weights, mask, sparsity], tf.bool)
        finished.set_shape(weights.shape)
        return threshold, tf.cast(finished, weights.dtype)

    def _share(self, step: NDArray[np.int64], sparsity: np.float32) -> NDArray[np.bool_]:
        assert self._together is not None
        return patterns.to_keras(self._together(int(step), _float64(sparsity)))

    def _make(self, weights: NDArray[Any], sparsity: np.float32) -> NDArray[np.bool_]:
        canonical = patterns.from_keras(weights)
        # Training diverged: `fit` stops at the loss that comes of it; an error from here TensorFlow would garble.
        if not np.isfinite(canonical).all():
            return np.ones(weights.shape, np.bool_)
        return patterns.to_keras(patterns.mask(canonical, self._pattern, _float64(sparsity)))

    def _finish(self, weights: NDArray[Any], mask: NDArray[Any], sparsity: np.float32) -> NDArray[np.bool_]:
        """TF-MOT's mask with no output left without weights; where ties made it inexact, our choice among the tied."""
        kept = patterns.from_keras(mask) != 0
        if not isinstance(self._pattern, patterns.NM) and not self._is_exact(kept, _float64(sparsity)):
            return self._make(weights, sparsity)
        return patterns.to_keras(patterns.keep_outputs_alive(patterns.from_keras(weights), kept, self._pattern))

    def _is_exact(self, kept: NDArray[np.bool_], sparsity: float) -> bool:
        # TF-MOT keeps every weight that ties with the threshold, and counts in float32. Its Dense blocks are all whole.
        block = self._pattern.rows * self._pattern.cols if isinstance(self._pattern, patterns.Block) else 1
        return int(np.count_nonzero(~kept)) == round(sparsity * (kept.size // block)) * block


def _float64(sparsity: np.float32) -> float:
    """The schedule's float32 as the decimal that the recipe meant: 0.8999999762 times a size rounds unlike 0.9."""
    return round(float(sparsity), 6)


def schedule_for(schedule: Schedule, sparsity: float | None, steps: int) -> Any:
    """A TF-MOT schedule over `steps` training steps whose last mask update falls on its last step.

    TF-MOT updates at begin, begin + frequency, ... and stops before an end that is not such a step, short of the final
    sparsity; so `begin` moves up until the updates divide the distance.

    Args:
        schedule: begin and end as fractions of the steps.
        sparsity: final share of zeros; not used for N:M (None), whose pattern fixes it.
        steps: training steps in all; TF-MOT counts them from 1.
    """
    first = max(1, round(schedule.begin * steps))
    last = max(first, round(schedule.end * steps))
    gaps = min(schedule.updates - 1, last - first)
    if sparsity is None or schedule.kind == "constant" or gaps == 0:
        frequency = (last - first) // gaps if gaps else 1
        begin = last - gaps * frequency
        return pruning_schedule.ConstantSparsity(sparsity or 0.0, begin, last, frequency)
    frequency = (last - first) // gaps
    return pruning_schedule.PolynomialDecay(
        schedule.initial_sparsity,
        sparsity,
        last - gaps * frequency,
        last,
        power=schedule.power,
        frequency=frequency,
    )
