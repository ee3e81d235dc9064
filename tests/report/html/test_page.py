"""The page as a file: whole, escaped, refusing what makes no sense, and the same wherever it is made."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgesparse import bench
from edgesparse.convert.bundle import Bundle, Manifest, Variant, describe, read_bundle, write_manifest
from edgesparse.convert.flatbuffer import read_model
from edgesparse.convert.layers import describe_layers, overall_density
from edgesparse.errors import UsageError
from edgesparse.kernels import find_library
from edgesparse.report.html import render, write_report
from edgesparse.store import AGAIN, Run
from tests.e2e.test_boards import stop_local_agent
from tests.report.html.conftest import Open, Written
from tests.report.runs import VARIANTS, Variants, fill, make_bundle, make_run
from tests.tiny import TinyFiles


def test_nothing_in_it_leads_outside(one: Written) -> None:
    own = one.html.split("<script>")[0] + one.html.split("</script>")[-1]
    assert not re.search(r"https?://|//cdn|@import", own)
    assert set(re.findall(r'(?:src|href)="([^"#][^"]*)"', own)) <= {"data:,"}
    assert one.path.stat().st_size < 1_500_000


def test_a_report_is_replaced_whole_or_not_at_all(one: Written, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "report.html"
    write_report(one.runs, path)
    first = path.read_text()
    write_report(one.runs, path)
    assert path.read_text() == first, "the same runs give the same page"
    assert [each.name for each in path.parent.iterdir()] == ["report.html"]
    with pytest.raises(UsageError, match="cannot be written"):
        write_report(one.runs, one.path / "report.html")
    with pytest.raises(UsageError, match="at least one run"):
        write_report([], path)


def test_names_and_reasons_are_text_alone(tmp_path: Path, open_report: Open) -> None:
    evil = "</script><script>document.title='owned'</script><img src=x onerror=document.title='owned'>"
    run = make_run(tmp_path)
    run.about["board"]["name"] = evil
    record = fill(run, parity_fails="two-four/xnnpack/1")
    path = tmp_path / "report.html"
    write_report([Run(record)], path)
    assert "<img src=x" not in path.read_text()
    report = open_report(path)
    report.wait_for_charts()
    assert "owned" not in report.page.title().replace(evil, "")
    assert report.page.evaluate("document.querySelector('img')") is None
    assert report.page.locator("#results .notes").inner_text().count("output 0 is off by 0.31") == 1


def test_differing_contexts_are_marked_and_refused_in_words(mixed: Written) -> None:
    html = mixed.html
    assert "The runs measured different things, latency and instructions: no chart puts the two on one axis." in html
    assert "Some power readings are simulated: they are not held against measured ones." in html
    marked = re.findall(r'<tr class="differs">\s*<th[^>]*>([^<]+)', html)
    assert {"measured", "board", "energy", "kind of run"} <= set(marked) and "runtime" not in marked
    assert "different bundles" not in html, "two bundles of the same content are one"


def test_runs_of_different_bundles_are_not_held_against_each_other(tmp_path: Path) -> None:
    runs = [
        Run(fill(make_run(tmp_path, board="one"))),
        Run(fill(make_run(tmp_path, board="two", variants=VARIANTS[:3]))),
    ]
    assert "The runs are of different bundles: a variant of one is another file than that of its name" in render(runs)


def test_each_kind_of_run_has_its_own_sentence(mixed: Written) -> None:
    sentences = re.findall(r'<p class="text">(.*?)</p>', mixed.html)
    assert "as fast as dense on kitchen-pi with the csr backend" in sentences[0] and "% energy" in sentences[0]
    assert "energy" not in sentences[1], "jetson has no sensor"
    assert sentences[2].startswith("Under load for minutes on attic-pi:") and "settles at" in sentences[2]
    assert "fewer instructions than dense on virt" in sentences[3]
    assert "it has no latency" in mixed.html and "SIMULATED" in mixed.html


def test_a_run_against_itself_is_a_page_about_noise(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", VARIANTS[:1])
    again: Variants = tuple(("dense" + suffix, *VARIANTS[0][1:]) for suffix in ("", f"{AGAIN}2", f"{AGAIN}3"))
    html = render([Run(fill(make_run(tmp_path, bundle=bundle, variants=again, aa=True)))])
    assert '<p class="text">A/A: no difference; ' in html
    assert "edgesparse bench BUNDLE --board kitchen-pi --variant dense" in html and "--aa" in html


def test_failures_are_told(mixed: Written) -> None:
    assert (
        "jetson: two-four under csr, 1 thread: parity, output 0 is off by 0.31 where 0.00011 is allowed." in mixed.html
    )


def test_a_run_without_records_is_a_page(tmp_path: Path, open_report: Open) -> None:
    path = tmp_path / "empty.html"
    write_report([Run(make_run(tmp_path))], path)
    report = open_report(path)
    report.wait_for_charts()
    assert report.said == [] and report.count(".chart") == 1
    assert "Nothing was timed in this run." in report.page.locator("#latency").inner_text()
    assert "The run has not ended" in report.page.locator(".warnings").inner_text()


def test_runs_of_one_board_are_told_apart_by_their_ids(tmp_path: Path) -> None:
    runs = [Run(fill(make_run(tmp_path), seed=seed)) for seed in range(2)]
    html = render(runs)
    assert all(f"kitchen-pi {run.id}" in html for run in runs)


@pytest.fixture
def tiny_bundle(tiny_files: TinyFiles, tmp_path: Path) -> Bundle:
    """Dense and sparse of one tiny network, as `convert` would lay them out."""
    directory = tmp_path / "tiny"
    directory.mkdir()
    names = {"dense": "dense.tflite", "sparse": "sparse.tflite", "inputs": "inputs.npz", "golden": "golden.npz"}
    for key, name in names.items():
        (directory / name).write_bytes(tiny_files[key])
    variants = []
    for name, pattern, twin in (("dense", "dense", None), ("sparse", "unstructured", "dense.tflite")):
        file = read_model(directory / f"{name}.tflite")
        layers = describe_layers(file, {}, {})
        variants.append(
            Variant(
                name=name, file=describe(directory, f"{name}.tflite"), twin=describe(directory, twin) if twin else None,
                golden=describe(directory, "golden.npz"), recipe=None, pattern=pattern,
                sparsity=0.8 if twin else None, density=overall_density([file]), accuracy=None, accuracy_samples=0,
                layers=layers, host_parity=[],
            )
        )  # fmt: skip
    manifest = Manifest(
        version=1, name="tiny", edgesparse="0.1.0", created="2026-11-22T23:00:00Z", key="k", toolchain={},
        inputs=describe(directory, "inputs.npz"), variants=variants,
    )  # fmt: skip
    write_manifest(directory, manifest)
    return read_bundle(directory)


@pytest.mark.timeout(900)
def test_a_real_run_has_all_its_charts(
    tiny_bundle: Bundle, tmp_path: Path, open_report: Open, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(stop_local_agent)
    backends = ["csr"] if find_library("x86_64") else ["xnnpack"]
    run = bench(tiny_bundle, "local", backends=backends, rounds=(6, 6), samples=70)
    path = tmp_path / "real.html"
    write_report([run], path)
    report = open_report(path)
    report.wait_for_charts()
    drawn = set(report.page.eval_on_selector_all(".chart[data-drawn]", "all => all.map(each => each.dataset.name)"))
    assert {"speedup", "distributions", "rounds", "size"} <= drawn
    assert report.count(".chart[data-drawn]") == report.count(".chart") and report.said == []
    assert report.count("#masks .mask") >= 1, "the masks were kept when the run was made"
    dots = "each => each.view.data('samples').length"
    count = report.page.locator(".chart[data-name=distributions]").evaluate(dots)
    assert count == sum(row.count for each in run.comparison().variants for row in each.backends) > 0
