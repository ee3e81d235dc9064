"""The page: whole, self-contained, well-formed, and of the numbers that it is given."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import msgspec
import numpy as np
import pytest

from edgesparse.errors import RecipeError
from edgesparse.lab import make_recipes
from edgesparse.lab.page import ratio_chart, render
from edgesparse.lab.result import Lab
from edgesparse.report.masks import mask_path
from tests.lab.labs import make_lab

VOID = {"meta", "link", "br", "img", "path", "line", "circle"}


class Checker(HTMLParser):
    """Every tag that opens is closed in its place."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag, (tag, self.getpos())


@pytest.fixture(scope="module")
def page() -> str:
    return render(make_lab({"block 4x1": {"verdict": "faster"}}))


def test_it_is_well_formed_and_needs_nothing_else(page: str) -> None:
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    assert len(page.encode()) < 1_000_000
    assert not re.search(r"<script|https?://|@import|url\(|src=|<link", page)
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    assert 'name="viewport"' in page


def test_the_numbers_are_those_of_the_lab(page: str) -> None:
    lab = make_lab()
    for each in lab.pruned:
        assert f"<strong>{each.pattern}</strong>" in page
        assert mask_path(each.corner) in page
        assert f"{each.own.total_bytes:,}".replace(",", "\u202f") in page
        assert f"{each.regularity:.3f}" in page
    assert page.count("cannot<small>") == 6  # all but 2:4 itself
    assert "1.50x, faster" in page
    assert page.count('role="img"') == 6 + 2 == page.count("aria-label=")


def test_a_board_cannot_write_into_the_page() -> None:
    lab = make_lab(board={"name": "<script>alert(1)</script>", "type": "local", "cpu": "a & b"}, warnings=["<b>"])
    page = render(lab)
    assert "<script" not in page
    assert "a &amp; b" in page
    assert "&lt;b&gt;" in page


def test_a_board_without_latency_has_no_chart() -> None:
    page = render(make_lab(quantity="nothing"))
    assert 'class="chart"' not in page
    assert "Latency</h2>" not in page


def test_the_picture_is_the_mask() -> None:
    corner = ["".join(str(bit) for bit in row) for row in np.random.default_rng(0).integers(0, 2, (9, 13))]
    drawn = np.zeros((9, 13), int)
    for x, y, width in re.findall(r"M(\d+) (\d+)h(\d+)v1H\d+z", mask_path(corner)):
        drawn[int(y), int(x) : int(x) + int(width)] += 1
    assert ["".join(map(str, row)) for row in drawn] == corner
    assert mask_path(["000", "111"]) == "M0 1h3v1H0z"


def test_marks_lie_where_their_ratio_is() -> None:
    chart = ratio_chart(make_lab({"filter": {"verdict": "slower"}, "2:4": {"verdict": "faster"}}), "csr")
    marks = {mark["name"]: mark for mark in chart["marks"]}
    assert marks["filter"]["last"] < chart["one"] < marks["2:4"]["first"] < marks["2:4"]["x"] < marks["2:4"]["last"]
    assert all(0 < mark["first"] <= mark["x"] <= mark["last"] < chart["width"] for mark in chart["marks"])


def test_the_document_reads_back() -> None:
    lab = make_lab()
    assert msgspec.json.decode(msgspec.json.encode(lab), type=Lab) == lab


def test_the_recipes_differ_in_nothing_but_the_pattern() -> None:
    recipes = make_recipes(0.75, epochs=3)
    assert [recipe.pattern.removeprefix("block ") for recipe in recipes] == [
        "unstructured",
        "1:4",
        "2x2",
        "4x1",
        "16x1",
        "filter",
    ]
    alike = {msgspec.json.encode((each.include, each.schedule, each.fine_tune, each.first_layer)) for each in recipes}
    assert len(alike) == 1
    assert len({recipe.name for recipe in recipes}) == 6
    with pytest.raises(RecipeError, match=r"0\.25, 0\.5, 0\.75; found 0\.6"):
        make_recipes(0.6)
    with pytest.raises(RecipeError, match="epochs"):
        make_recipes(0.5, epochs=0)
