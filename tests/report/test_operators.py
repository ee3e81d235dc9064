"""What the comparison says of every operator under csr."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from edgesparse.report.export import to_json, to_markdown
from edgesparse.report.operators import render
from edgesparse.report.summary import Comparison, summarise
from tests.report.runs import make_run

REASONS = ("predicted to be 2.75 times as fast as dense", "its weights hold no zeros")


def node(number: int, claimed: bool) -> dict[str, Any]:
    return {
        "node": number, "op": "CONV_2D", "output": f"net/relu_{number}/Relu6;net/conv_{number}/Conv2D",
        "claimed": claimed, "kernel": "es_f32_bsr_8x1_ukernel_6__avx2" if claimed else None,
        "format": "bsr8x1" if claimed else None, "density": 0.2 if claimed else 1.0,
        "sparse_us": 12.0 if claimed else None, "dense_us": 133.4 if claimed else None,
        "reason": REASONS[0 if claimed else 1],
    }  # fmt: skip


def check(cell: str, nodes: list[dict[str, Any]]) -> dict[str, Any]:
    claimed = [each for each in nodes if each["claimed"]]
    path = {
        "requested": "sparse",
        "taken": "dense",
        "evidence": "the kernels left all operators to XNNPACK: its weights",
    }
    if claimed:
        path |= {"taken": "sparse", "evidence": f"{len(claimed)} of {len(nodes)} operators: {claimed[0]['kernel']} x2"}
    report = {"format": 1, "version": "0.3.0", "isa": "avx2", "claim": "auto", "threads": 1, "plan_for": None,
              "packing_ms": 1.25, "packed_bytes": 123_456, "nodes": nodes}  # fmt: skip
    parity = {"ok": True, "max_abs_error": 1e-7, "tolerance": 1e-4, "reason": "", "samples": 8}
    return {"type": "check", "cell": cell, "status": "ok", "kind": None, "reason": "", "parity": parity, "path": path,
            "runtime": None, "delegate": report, "cached": False}  # fmt: skip


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    """unstructured-80 with two of three operators claimed, two-four with none, and two thread counts."""
    run = make_run(tmp_path)
    names = ("unstructured-80", "two-four")
    run.about["spec"]["cells"] = [
        {"id": f"{name}/csr/{threads}", "variant": name, "backend": "csr", "threads": threads}
        for threads in (1, 2)
        for name in names
    ]
    taken = {"unstructured-80": [node(0, False), node(2, True), node(4, True)], "two-four": [node(0, False)]}
    records = [check(f"{name}/csr/{threads}", taken[name]) for threads in (1, 2) for name in names]
    run.append([{"seq": seq, "t_ns": seq, **each} for seq, each in enumerate(records, start=1)])
    return summarise(run)


def text_of(renderable: Any) -> str:
    out = io.StringIO()
    Console(width=220, file=out).print(renderable)
    return out.getvalue()


def test_every_operator_has_its_kernel_or_its_reason(comparison: Comparison) -> None:
    text = text_of(render(comparison))
    lines = [line.split() for line in text.splitlines()]
    assert text.count("under csr (avx2, 1 thread)") == 2  # two threads did the same, so they are not listed again
    assert text.count("es_f32_bsr_8x1_ukernel_6__avx2") == 2
    assert text.count("left to XNNPACK") == 2
    assert all(reason in text for reason in REASONS)
    second = next(line for line in lines if line[:1] == ["2"])
    assert second[1:8] == ["CONV_2D", "relu_2/Relu6", "20.0", "%", "es_f32_bsr_8x1_ukernel_6__avx2", "12.0", "133"]
    assert "2 of 3 operators, 123.5 kB of weights packed in 1.2 ms" in text
    assert "0 of 1 operators;" in text


def test_json_holds_them_and_the_table_names_the_kernels(comparison: Comparison) -> None:
    rows = to_json(comparison)["variants"][0]["backends"]
    assert [each["claimed"] for each in rows[0]["delegate"]["nodes"]] == [False, True, True]
    markdown = to_markdown(comparison)
    assert markdown.count("csr on unstructured-80: 2 of 3 operators: es_f32_bsr_8x1_ukernel_6__avx2 x2.") == 1
    assert "csr on two-four" not in markdown


def test_what_csr_left_is_warned_of_apart_from_the_stock_backends(comparison: Comparison) -> None:
    said = [text for text in comparison.warnings if "left to XNNPACK" in text or "Stored sparse" in text]
    assert said == ["Pruned but left to XNNPACK by csr: two-four; `edgesparse report --operators` says why."]


def test_a_run_without_csr_says_so(tmp_path: Path) -> None:
    assert "nothing was checked under csr" in text_of(render(summarise(make_run(tmp_path))))
