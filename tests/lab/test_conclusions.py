"""The sentences follow the numbers: other numbers, other sentences."""

from __future__ import annotations

from typing import Any

import pytest

from edgesparse.lab.conclusions import conclude
from edgesparse.lab.result import Lab
from tests.lab.labs import make_lab


def said(lab: Lab) -> dict[str, str]:
    keys = ("storage", "regularity", "accuracy", "latency", "choice")
    return {key: " ".join(each.answers) for key, each in zip(keys, conclude(lab), strict=True)}


def test_storage_and_regularity_are_those_of_the_kernels() -> None:
    found = said(make_lab())
    assert "no form can be more than 2.00 times smaller" in found["storage"]
    assert "Closest comes filter (whole filters), 1.99x; farthest stays unstructured (CSR), 1.58x" in found["storage"]
    assert "stored every pattern as csr, so all of them are 50 % of the dense file's size" in found["storage"]
    order = ["unstructured 0.0", "2:4 0.0", "block 2x2 0.3", "block 4x1 0.4", "block 16x1 0.8", "filter"]
    places = [found["regularity"].index(text) for text in order]
    assert places == sorted(places)
    assert "can skip 100.0 % of the zeros of block 16x1" in found["regularity"]


def test_files_of_other_sizes_are_not_said_to_be_alike() -> None:
    lab = make_lab({"block 16x1": {"size": 700}})
    assert "does not show" not in said(lab)["storage"]
    assert "block 16x1 has the smallest file: 700 bytes, 35 % of dense's." in said(lab)["choice"]


def test_who_is_faster_is_what_was_measured() -> None:
    found = said(make_lab({"block 4x1": {"verdict": "faster"}, "filter": {"verdict": "slower"}}))
    assert "csr: 1 of 6 patterns is shown to be faster than dense, most of all block 4x1, 1.50x [" in found["latency"]
    assert "csr: shown to be slower than dense: filter (0.80x [0.70, 0.90])" in found["latency"]
    assert "xnnpack: no pattern is shown to be faster than dense. All of them: because." in found["latency"]
    assert "block 4x1 under csr has the lowest median latency" in found["choice"]
    assert "takes 1.50 times as long" in found["choice"]
    assert "No pattern was shown to save time" not in found["choice"]


def test_where_nothing_is_faster_that_is_said() -> None:
    assert "No pattern was shown to save time" in said(make_lab())["choice"]


def test_too_few_launches_are_no_verdict() -> None:
    few = {pattern.pattern: {"verdict": "too few launches"} for pattern in make_lab().pruned}
    found = said(make_lab(few))
    assert "csr: measured in fewer than 6 rounds, too few to tell." in found["latency"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "none is shown to be less accurate than dense"),
        ({"filter": {"accuracy": 0.9}}, "filter is shown to be less accurate than dense"),
        (
            {"filter": {"accuracy": 0.9}, "block 16x1": {"accuracy": 0.8, "verdict": "faster"}},
            "block 16x1 and filter are shown to be less accurate than dense",
        ),
    ],
)
def test_accuracy_is_lower_only_where_intervals_part(changes: dict[str, dict[str, Any]], says: str) -> None:
    lab = make_lab(changes)
    assert says in said(lab)["accuracy"]
    if "block 16x1" in changes:  # the fastest is not recommended if it is less accurate
        assert "block 16x1 under" not in said(lab)["choice"]


def test_an_emulated_board_has_no_latency() -> None:
    found = said(make_lab(quantity="instructions"))
    assert "emulated" in found["latency"]
    assert "faster than" not in found["latency"]


def test_the_order_of_losses_is_told_where_there_is_one() -> None:
    names = [each.pattern for each in make_lab().pruned]
    falling = {name: {"accuracy_pruned": 0.9 - place / 10} for place, name in enumerate(names)}
    assert "the more regular the zeros, the more is lost" in said(make_lab(falling))["accuracy"]
    rising = {name: {"accuracy_pruned": 0.3 + place / 10} for place, name in enumerate(names)}
    found = said(make_lab(rising))["accuracy"]
    assert "the more is lost" not in found
    assert "filter keeps most (80.0 %) and unstructured least (30.0 %)." in found
    assert "the more is lost" not in said(make_lab())["accuracy"]
