"""What the page shows is what the raw samples say, computed here from the records by other means."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from edgesparse.energy import Floats
from edgesparse.report.html.packing import unpack
from edgesparse.store import Record, Run
from tests.report.html.conftest import Written
from tests.report.runs import BUSY_W, IDLE_W


class Tables(HTMLParser):
    """Every table of a page: caption -> rows of cells, the heads first."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, list[list[str]]] = {}
        self._caption, self._cell = "", ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self._rows: list[list[str]] = []
        elif tag == "tr":
            self._rows.append([])
        if tag in ("caption", "th", "td"):
            self._cell = ""

    def handle_data(self, data: str) -> None:
        self._cell += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "caption":
            self._caption = self._cell
        elif tag in ("th", "td"):
            self._rows[-1].append(self._cell)
        elif tag == "table":
            self.found[self._caption] = self._rows


@pytest.fixture(scope="module")
def tables(one: Written) -> dict[str, list[list[str]]]:
    parser = Tables()
    parser.feed(one.html)
    return parser.found


@pytest.fixture(scope="module")
def embedded(one: Written) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', one.html, re.DOTALL)
    assert found
    return json.loads(found[1])


@pytest.fixture(scope="module")
def records(one: Written) -> list[Record]:
    return one.runs[0].record.records()


def launches(records: list[Record], cell: str) -> list[Floats]:
    """The latencies of each launch in ms, by round."""
    found = sorted(
        (each for each in records if each["type"] == "samples" and each["cell"] == cell), key=lambda each: each["round"]
    )
    return [np.array(each["latency_ns"]) / 1e6 for each in found]


def interval(values: Floats) -> tuple[float, float]:
    """Hettmansperger and Sheather's: between the last pair of launches that encloses the median with 95 % and the next,
    by scipy's binomial distribution."""
    count, ordered = len(values), np.sort(values)
    last = int(binom.ppf(0.025, count, 0.5))
    holds, next_holds = 1 - 2 * binom.cdf([last - 1, last], count, 0.5)
    share = (holds - 0.95) / (holds - next_holds)
    place = last - 1 + (count - last) * share / (last + (count - 2 * last) * share)
    low, high = np.interp([place, count - 1 - place], np.arange(count), ordered)
    return float(low), float(high)


def row_of(rows: list[list[str]], variant: str, backend: str) -> dict[str, str]:
    line = next(each for each in rows[1:] if each[:2] == [variant, backend])
    return dict(zip(rows[0], line, strict=True))


CELLS = [("block-4x1-80", "csr"), ("unstructured-80", "xnnpack"), ("two-four", "builtin"), ("dense", "csr")]


@pytest.mark.parametrize(("variant", "backend"), CELLS)
def test_medians_and_intervals(tables: Any, records: list[Record], variant: str, backend: str) -> None:
    medians = np.array([np.median(each) for each in launches(records, f"{variant}/{backend}/1")])
    low, high = interval(medians)
    shown = row_of(tables["Every variant under every backend"], variant, backend)
    assert shown["median ms [95 %]"] == f"{np.median(medians):.3f} [{low:.3f}, {high:.3f}]"
    everything = np.concatenate(launches(records, f"{variant}/{backend}/1"))
    assert shown["p90 ms"] == f"{np.percentile(everything, 90):.3f}"
    spans = row_of(
        next(rows for caption, rows in tables.items() if caption.startswith("What the samples")), variant, backend
    )
    assert (spans["samples"], spans["launches"]) == (f"{len(everything):,}", "8")
    assert spans["least ms"] == f"{everything.min():.4g}" and spans["greatest ms"] == f"{everything.max():.4g}"


@pytest.mark.parametrize(("variant", "backend"), CELLS[:3])
def test_ratios_are_paired_by_round(tables: Any, records: list[Record], variant: str, backend: str) -> None:
    dense, own = (
        np.array([np.median(each) for each in launches(records, f"{name}/{backend}/1")]) for name in ("dense", variant)
    )
    low, high = np.exp(interval(np.log(dense / own)))
    caption = "Times as fast as dense under the same backend, with 95 % intervals"
    shown = row_of(tables[caption], variant, backend)
    value = np.exp(np.median(np.log(dense / own)))
    assert [shown[key] for key in ("times as fast as dense", "at least", "at most")] == [
        f"{value:.3f}", f"{low:.3f}", f"{high:.3f}",
    ]  # fmt: skip


def test_the_sentence_has_the_numbers_of_the_samples(one: Written, records: list[Record]) -> None:
    dense, own = (
        np.array([np.median(each) for each in launches(records, f"{name}/csr/1")]) for name in ("dense", "block-4x1-80")
    )
    value, (low, high) = np.exp(np.median(np.log(dense / own))), np.exp(interval(np.log(dense / own)))
    energy = energy_mj(records, "block-4x1-80/csr/1") / energy_mj(records, "dense/csr/1")
    sentence = (
        f"block-4x1-80 runs {value:.2f}x [{low:.2f}, {high:.2f}] as fast as dense on kitchen-pi with the csr backend, "
        f"\u22120.5 points accuracy, \u2212{100 * (1 - energy):.0f} % energy."
    )
    assert f'<p class="text">{sentence}</p>' in one.html


def energy_mj(records: list[Record], cell: str) -> float:
    """Above idle: the sensor's readings in the launches, by the trapezoid rule."""
    sensors = next(each for each in records if each["type"] == "sensors")
    t_s, watts = np.array(sensors["t_ns"]) / 1e9, np.array(sensors["values"]["VDD_IN"])
    found = []
    for launch in (each for each in records if each["type"] == "samples" and each["cell"] == cell):
        begin, end = np.array(launch["window_ns"]) / 1e9
        inside = (t_s > begin) & (t_s < end)
        at = np.concatenate([[begin], t_s[inside], [end]])
        power = np.interp(at, t_s, watts)
        joules = float(((power[1:] + power[:-1]) / 2 * np.diff(at)).sum())
        found.append((joules - IDLE_W * (end - begin)) / launch["inferences"] * 1e3)
    return float(np.median(found))


def test_energy_is_what_the_readings_say(tables: Any, records: list[Record]) -> None:
    shown = row_of(tables["Energy of an inference, with 95 % intervals"], "block-4x1-80", "csr")
    expected = energy_mj(records, "block-4x1-80/csr/1")
    assert float(shown["mJ above idle"]) == pytest.approx(expected, rel=1e-3)
    latency_ms = np.median(np.concatenate(launches(records, "block-4x1-80/csr/1")))
    assert expected == pytest.approx((BUSY_W - IDLE_W) * latency_ms, rel=0.06), "3 W for as long as it takes"


def test_every_sample_is_in_the_page(embedded: Any, records: list[Record]) -> None:
    run = embedded["runs"][0]
    for (variant, backend, _, count, _, _), found in zip(run["cells"], unpack(run), strict=True):
        expected = np.sort(np.concatenate(launches(records, f"{variant}/{backend}/1")))
        assert count == len(expected) == 8 * 70
        np.testing.assert_allclose(found, expected, rtol=3e-5)
    assert len(run["cells"]) == 12


def test_charts_draw_the_same_numbers_as_the_tables(embedded: Any, tables: Any, records: list[Record]) -> None:
    table = embedded["runs"][0]["tables"]["rows"]
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
    assert len(rows) == 12
    for row in rows:
        medians = [np.median(each) for each in launches(records, f"{row['variant']}/{row['backend']}/1")]
        assert row["median_ms"] == pytest.approx(np.median(medians), rel=1e-5)
        assert (row["low_ms"], row["high_ms"]) == pytest.approx(interval(np.array(medians)), rel=1e-5)
        assert row["samples"] == 8 * 70
    best = {(row["variant"], row["backend"]) for row in rows if row["front"]}
    beaten = {
        (row["variant"], row["backend"])
        for row in rows
        if any(other["median_ms"] < row["median_ms"] and other["accuracy"] >= row["accuracy"] for other in rows)
    }
    assert best == {(row["variant"], row["backend"]) for row in rows} - beaten


def test_sizes_are_the_manifests(tables: Any, one: Written) -> None:
    shown = {line[0]: line[4] for line in tables["Bytes of each variant's file"][1:]}
    assert shown == {each.name: f"{each.file.bytes:,}" for each in one.runs[0].record.manifest.variants}


def test_what_is_needed_to_do_it_again(one: Written) -> None:
    run: Run = one.runs[0]
    html = one.html
    assert (
        "edgesparse bench BUNDLE --board kitchen-pi --backend builtin --backend xnnpack --backend csr --threads 1"
        in html
    )
    assert run.record.about["bundle"]["id"] in html
    assert all(each.file.sha256 in html for each in run.record.manifest.variants)
    assert "ai-edge-litert 2.3.0" in html and "Cortex-A76" in html
