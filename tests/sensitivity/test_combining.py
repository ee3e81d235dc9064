"""Combinations of sparsities, against a judge whose drops are given by a formula."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesparse.sensitivity.combining import combine
from edgesparse.sensitivity.result import Layer, Point

GRID = (0.25, 0.5, 0.75)


class Formula:
    """Drops by a function of the sparsities; of all samples, `worse` more for every pruned layer."""

    samples, samples_of_all, dense_of_all = 100, 1000, 0.9

    def __init__(self, drop: Callable[[Mapping[str, float]], float], worse: float = 0.0) -> None:
        self._drop, self._worse = drop, worse

    def drop(self, sparsities: Mapping[str, float], *, of_all: bool = False) -> float:
        return self._drop(sparsities) + of_all * self._worse * sum(share > 0 for share in sparsities.values())


def layers(judge: Formula, sizes: Mapping[str, int]) -> list[Layer]:
    def point(name: str, share: float) -> Point:
        drop = judge.drop({name: share})
        return Point(sparsity=share, zeros=share, accuracy=0.9 - drop, drop=drop)

    return [
        Layer(
            name=name,
            kind="Dense",
            shape=(size, 1),
            weights=size,
            reason="",
            points=tuple(point(name, s) for s in GRID),
        )
        for name, size in sizes.items()
    ]


SIZES = {"a": 100, "b": 1000, "c": 10}


def test_what_loses_nothing_is_pruned_as_far_as_the_grid_goes() -> None:
    judge = Formula(lambda shares: 0.5 if shares.get("a") else 0.0)
    found = combine(layers(judge, SIZES), judge, 0.01)
    assert found is not None
    assert found.sparsities == {"a": 0.0, "b": 0.75, "c": 0.75}
    assert found.sparsity == pytest.approx(0.75 * 1010 / 1110)
    assert (found.drop, found.accuracy) == (0, 0.9)


def test_losses_that_only_come_together_are_seen() -> None:
    """Each layer alone loses nothing: adding up the curves would prune both."""
    judge = Formula(lambda shares: 0.3 if shares.get("a") and shares.get("b") else 0.0)
    found = combine(layers(judge, SIZES), judge, 0.01)
    assert found is not None
    assert found.sparsities == {"a": 0.0, "b": 0.75, "c": 0.75}
    assert found.summed_drop == 0


def test_it_backs_off_until_the_drop_holds_of_all_samples() -> None:
    judge = Formula(lambda shares: 0.0, worse=0.004)
    found = combine(layers(judge, SIZES), judge, 0.005)
    assert found is not None
    assert sum(share > 0 for share in found.sparsities.values()) == 1
    assert found.drop == 0.004
    assert found.samples == 1000


def test_where_nothing_holds_there_is_no_combination() -> None:
    judge = Formula(lambda shares: 0.2 * any(shares.values()))
    assert combine(layers(judge, SIZES), judge, 0.1) is None


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.tuples(st.integers(1, 1000), st.floats(0, 0.1)), min_size=1),
    st.floats(0, 0.2),
    st.floats(0, 2),
    st.floats(0, 0.01),
)
def test_the_drop_always_holds(
    drawn: dict[str, tuple[int, float]], max_drop: float, together: float, worse: float
) -> None:
    def drop(shares: Mapping[str, float]) -> float:
        alone = [drawn[name][1] * share for name, share in shares.items()]
        return sum(alone) + together * max(alone, default=0) * (sum(a > 0 for a in alone) - 1)

    judge = Formula(drop, worse)
    found = combine(layers(judge, {name: size for name, (size, _) in drawn.items()}), judge, max_drop)
    if found is not None:
        assert judge.drop(found.sparsities, of_all=True) == found.drop <= max_drop + 1e-9
        assert any(found.sparsities.values())
