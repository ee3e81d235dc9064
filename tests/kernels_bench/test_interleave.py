"""Turns, their order, when they end, and the ratio that comes out."""

from __future__ import annotations

import gc
import time
from collections import Counter
from functools import partial
from itertools import islice, pairwise

import pytest

from kernels.bench import interleave as module
from kernels.bench.interleave import MIN_ROUNDS, Timing, interleave, speedup


def busy(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def test_a_thing_that_takes_twice_as_long_is_seen_to() -> None:
    invokes = {"slow": partial(busy, 0.002), "fast": partial(busy, 0.001)}
    taken = interleave(invokes, Timing(rounds=40, min_time_s=0))
    ratio = speedup(taken["slow"], taken["fast"])
    assert ratio.value == pytest.approx(2.0, rel=0.25)
    assert ratio.interval is not None
    assert ratio.interval[0] <= ratio.value <= ratio.interval[1]


def test_every_cell_is_first_equally_often_and_follows_every_other() -> None:
    orders = list(islice(module._orders(["a", "b", "c"]), 12))
    assert Counter(order[0] for order in orders) == {"a": 4, "b": 4, "c": 4}
    assert all(sorted(order) == ["a", "b", "c"] for order in orders)
    pairs = {pair for order in orders for pair in pairwise(order)}
    assert len(pairs) == 6


def test_it_goes_on_for_the_least_time_and_stops_at_the_most() -> None:
    many = interleave({"a": partial(busy, 0.001)}, Timing(rounds=2, min_time_s=0.2, max_time_s=9))
    assert len(many["a"]) > 50
    few = interleave({"a": partial(busy, 0.02)}, Timing(rounds=10**6, min_time_s=0, max_time_s=0))
    assert len(few["a"]) == MIN_ROUNDS


def test_the_first_invocation_of_a_burst_is_not_counted() -> None:
    calls = [0]

    def cold_then_warm() -> None:
        calls[0] += 1
        if calls[0] % 3 == 1:
            busy(0.02)

    module_warm_up = module._warm_up
    try:
        module._warm_up = lambda invoke: None
        taken = interleave({"a": cold_then_warm}, Timing(rounds=9, min_time_s=0, burst=3))
    finally:
        module._warm_up = module_warm_up
    assert calls[0] == 27
    assert sorted(taken["a"])[4] < 5


def test_garbage_collection_is_as_it_was_after_a_failure() -> None:
    calls = [0]

    def fails_later() -> None:
        calls[0] += 1
        time.sleep(0.03)
        if calls[0] > 6:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interleave({"a": fails_later}, Timing())
    assert gc.isenabled()
