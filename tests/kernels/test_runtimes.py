"""Whole models through the delegate under every runtime: the same outputs as without it, and a report that says why."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import numpy as np
import pytest

from edgesparse.kernels import library_path, this_arch
from tests.kernels.conftest import Runtime, usable_isas
from tests.kernels.models import MODELS, Model, conv, mobile, stored

TOLERANCE = 1e-5  # of the largest golden value

NODE_KEYS = {
    "node", "op", "output", "claimed", "kernel", "format", "density", "sparse_us", "dense_us", "reason",
}  # fmt: skip


@cache
def model_of(name: str) -> Model:
    return MODELS[name]()


def assert_close(found: list[Any], golden: list[Any]) -> None:
    assert len(found) == len(golden) > 0
    for one, other in zip(found, golden, strict=True):
        assert one.shape == other.shape
        assert np.isfinite(one).all()
        assert np.abs(one - other).max() <= TOLERANCE * np.abs(other).max()


def assert_equal(found: list[Any], golden: list[Any]) -> None:
    assert len(found) == len(golden) > 0
    assert all(np.array_equal(one, other, equal_nan=True) for one, other in zip(found, golden, strict=True))


def claimed_of(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [node for node in report["nodes"] if node["claimed"]]


@pytest.mark.parametrize("name", list(MODELS))
def test_all_that_can_be_claimed_gives_the_same_outputs(runtime: Runtime, name: str) -> None:
    model = model_of(name)
    found, report = runtime.csr(model.file, model.samples, {"claim": "all"})
    sparse = [node for node in report["nodes"] if not node["neighbour"]]
    assert len(sparse) == model.listed or name.startswith("mobile")
    assert len(claimed_of(report)) >= model.claimable
    if model.claimable == 0:
        assert claimed_of(report) == []
    assert_close(found, runtime.outputs("run", model.twin, model.samples))


@pytest.mark.parametrize("name", list(MODELS))
def test_what_is_claimed_by_default_gives_the_same_outputs(runtime: Runtime, name: str) -> None:
    model = model_of(name)
    found, report = runtime.csr(model.file, model.samples, {})
    assert (report["claim"], report["plan_for"]) == ("auto", None)
    for node in report["nodes"]:
        assert node["reason"]
        if node["claimed"] and node["sparse_us"] is not None and node["op"] in ("CONV_2D", "FULLY_CONNECTED"):
            assert node["sparse_us"] < node["dense_us"] or node["density"] < 1
    golden = runtime.outputs("run", model.twin, model.samples)
    if (
        name.startswith("half, stored as")
        and runtime.name == "tensorflow"
        and len(claimed_of(report)) < model.claimable
    ):
        # What it computes from what is left to it is not the same from run to run, and often NaN.
        pytest.skip("tensorflow itself gets half-precision sparse weights wrong")
    assert_close(found, golden)


@pytest.mark.parametrize("name", list(MODELS))
def test_every_instruction_set_gives_the_same_outputs(litert: Runtime, isa: str, name: str) -> None:
    model = model_of(name)
    found, report = litert.csr(model.file, model.samples, {"claim": "all", "isa": isa})
    assert report["isa"] == isa
    kernels = [node["kernel"] for node in claimed_of(report)]
    assert all(kernel.endswith((f"__{isa}", "__scalar")) for kernel in kernels)
    assert_close(found, litert.outputs("run", model.twin, model.samples))


@pytest.mark.parametrize("name", ["mobile", "mobile, dense", "stored as csr", "half, stored as csr", "dilated"])
def test_with_nothing_claimed_the_outputs_are_those_of_the_runtime(runtime: Runtime, name: str) -> None:
    """To the bit: XNNPACK gets the very graph that it would get without the delegate."""
    model = model_of(name)
    found, report = runtime.csr(model.file, model.samples, {"claim": "none"})
    assert report["nodes"] and claimed_of(report) == []
    golden = runtime.outputs("run", model.file, model.samples)
    if name.startswith("half") and runtime.name == "tensorflow":
        # What it computes is not the same from run to run, and often NaN.
        pytest.skip("tensorflow itself gets half-precision sparse weights wrong")
    assert_equal(found, golden)


def test_a_model_with_nothing_sparse_is_left_alone(runtime: Runtime) -> None:
    model = model_of("mobile, dense")
    found, report = runtime.csr(model.file, model.samples, {})
    assert report["nodes"] and claimed_of(report) == []
    assert report["packed_bytes"] == 0
    assert_equal(found, runtime.outputs("run", model.file, model.samples))


def test_the_report_says_all_that_is_to_be_known(runtime: Runtime) -> None:
    model = model_of("mobile")
    _, report = runtime.csr(model.file, model.samples, {"claim": "all"})
    assert report["format"] == 1
    assert report["version"] and report["isa"]
    assert (report["claim"], report["threads"], report["plan_for"]) == ("all", 1, None)
    assert report["packed_bytes"] > 0 and report["packing_ms"] >= 0
    places = [node["node"] for node in report["nodes"]]
    assert places == sorted(set(places))
    for node in report["nodes"]:
        assert set(node) >= NODE_KEYS
        assert node["output"] and node["reason"]
    weighted = [node for node in report["nodes"] if node["op"] in ("CONV_2D", "FULLY_CONNECTED")]
    assert [node["op"] for node in weighted] == ["CONV_2D"] * 6 + ["FULLY_CONNECTED"]
    assert weighted[0]["density"] == 1
    for node in weighted[1:]:
        assert 0.1 < node["density"] < 0.3
        assert node["claimed"] and node["kernel"].startswith("es_f32_") and node["format"]
        assert node["sparse_us"] > 0 and node["dense_us"] > 0


@pytest.mark.parametrize("pattern", ["4x1", "8x1", "16x1"])
def test_the_format_follows_the_zeros(litert: Runtime, isa: str, pattern: str) -> None:
    """Blocks of R consecutive outputs are found in the values, whatever the file says."""
    model = conv((1, 14, 14, 128), (128, 1, 1, 128), pattern=pattern, density=0.2)
    _, report = litert.csr(model.file, model.samples, {"claim": "all", "isa": isa})
    (node,) = report["nodes"]
    as_wide_as_a_vector = {"4x1": ("neon", "neondot"), "8x1": ("avx2", "avxvnni"), "16x1": ("avx512", "avx512vnni")}
    if isa in as_wide_as_a_vector[pattern]:
        assert node["format"] == f"bsr{pattern}"
    else:
        assert node["format"] in {"bsr4x1", "bsr8x1", "bsr16x1", "csr"}


def test_single_zeros_are_not_stored_as_blocks(litert: Runtime) -> None:
    model = conv((1, 14, 14, 256), (256, 1, 1, 256), density=0.1)
    _, report = litert.csr(model.file, model.samples, {"claim": "all"})
    assert [node["format"] for node in report["nodes"]] == ["csr"]


def test_a_large_sparse_convolution_is_claimed_by_default(litert: Runtime) -> None:
    model = conv((1, 28, 28, 256), (256, 1, 1, 256), density=0.1, pattern="16x1")
    found, report = litert.csr(model.file, model.samples, {})
    (node,) = report["nodes"]
    assert node["claimed"] and node["sparse_us"] < node["dense_us"]
    assert_close(found, litert.outputs("run", model.twin, model.samples))


# -- life of an interpreter --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("name", ["mobile, 16x1", "3x3 SAME, stride 2, odd", "1x1, one pixel", "connected, batch 5"])
def test_threads_change_nothing(runtime: Runtime, name: str, threads: int) -> None:
    model = model_of(name)
    one, _ = runtime.csr(model.file, model.samples, {"claim": "all"})
    several, report = runtime.csr(model.file, model.samples, {"claim": "all"}, threads=threads)
    assert report["threads"] == min(threads, len(os.sched_getaffinity(0)))  # more would only wait for each other
    assert_close(several, one)


def test_the_threads_option_has_the_last_word(litert: Runtime) -> None:
    model = model_of("mobile")
    found, report = litert.csr(model.file, model.samples, {"claim": "all", "threads": 5})
    assert report["threads"] == 5
    assert_close(found, litert.outputs("run", model.twin, model.samples))


@pytest.mark.parametrize("threads", [1, 2])
def test_every_inference_gives_the_same(runtime: Runtime, threads: int) -> None:
    model = model_of("mobile")
    found, _ = runtime.csr(model.file, model.samples, {"claim": "all"}, invocations=20, threads=threads)
    assert len(found) == 40
    assert_equal(found[:20], [found[0]] * 20)
    assert_equal(found[20:], [found[20]] * 20)


@pytest.mark.parametrize("threads", [1, 2])
def test_several_interpreters_run_at_once(runtime: Runtime, threads: int) -> None:
    model = model_of("mobile")
    sample = model.samples[:1]
    found, _ = runtime.csr(
        model.file, sample, {"claim": "all"}, "together", interpreters=4, invocations=25, threads=threads
    )
    assert len(found) == 100
    assert_close(found, runtime.outputs("run", model.twin, sample) * 100)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_deleted_interpreter_leaves_nothing_behind(runtime: Runtime, threads: int) -> None:
    model = mobile(size=96)
    runtime.csr(model.file, model.samples[:1], {"claim": "all"}, "lifecycle", times=40, threads=threads)
    left, resident_kb = runtime.answer["threads"], runtime.answer["resident_kb"]
    assert left[-1] <= left[4]
    # Half of what the packed weights and the scratch memory of 30 interpreters would take.
    assert resident_kb[-1] - resident_kb[9] < 3000


def test_another_input_size(runtime: Runtime) -> None:
    """The weights stay, the output grows; back and forth, and in batches."""
    model = model_of("3x3 SAME")
    random = np.random.default_rng(5)
    shapes = [(1, 13, 11, 16), (1, 20, 7, 16), (3, 13, 11, 16), (1, 4, 4, 16), (1, 13, 11, 16)]
    samples = [random.normal(size=shape).astype(np.float32) for shape in shapes]
    found, _ = runtime.csr(model.file, samples, {"claim": "all"}, "resize")
    assert_close(found, runtime.outputs("resize", model.twin, samples))


def test_a_batch_of_a_fully_connected_layer(runtime: Runtime) -> None:
    model = model_of("connected")
    random = np.random.default_rng(5)
    samples = [random.normal(size=(batch, 300)).astype(np.float32) for batch in (1, 4, 2)]
    found, _ = runtime.csr(model.file, samples, {"claim": "all"}, "resize")
    assert_close(found, runtime.outputs("resize", model.twin, samples))


# -- options -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"clam": "all"}, ["clam", "claim"]),
        ({"claim": "some"}, ["some", "auto", "all", "none"]),
        ({"isa": "mmx"}, ["mmx", "scalar"]),
        ({"threads": "many"}, ["threads", "many"]),
        ({"threads": "0"}, ["threads", "0"]),
        ({"threads": "-2"}, ["threads", "-2"]),
        ({"plan": "z80"}, ["z80", "aarch64-neon"]),
        ({"rounding": "up"}, ["rounding", "up", "auto", "float", "fixed"]),
    ],
)
def test_an_option_that_means_nothing_is_refused_with_what_exists(
    runtime: Runtime, options: dict[str, str], says: list[str]
) -> None:
    answer = runtime.ask("load", library=str(library_path()), options=options)
    said = answer["error"].strip().splitlines()[-1]
    assert all(word in said for word in says), said


@pytest.mark.parametrize("name", ["avx2", "avx512", "neon"])
def test_an_instruction_set_that_this_cpu_lacks_is_refused(litert: Runtime, name: str) -> None:
    if name in usable_isas():
        pytest.skip(f"this CPU has {name}")
    answer = litert.ask("load", library=str(library_path()), options={"isa": name})
    assert name in answer["error"]


def test_the_environment_names_the_instruction_set(runtime: Runtime, isa: str) -> None:
    model, environment = model_of("stored as csr"), {"EDGESPARSE_ISA": isa}
    _, report = runtime.csr(model.file, model.samples, {"claim": "all"}, environment=environment)
    assert report["isa"] == isa
    _, report = runtime.csr(model.file, model.samples, {"isa": "scalar"}, environment=environment)
    assert report["isa"] == "scalar"


def test_a_wrong_name_in_the_environment_is_refused(litert: Runtime) -> None:
    answer = litert.ask("load", library=str(library_path()), environment={"EDGESPARSE_ISA": "sse9"})
    assert "sse9" in answer["error"]


@pytest.mark.parametrize("cpu", ["x86_64-avx2", "x86_64-avx512vnni", "aarch64-neondot", "armv7l-neon", "any-scalar"])
def test_a_plan_decides_for_another_cpu_and_touches_nothing(runtime: Runtime, cpu: str) -> None:
    model = model_of("mobile, 16x1")
    found, report = runtime.csr(model.file, model.samples, {"plan": cpu})
    assert report["plan_for"] == cpu
    assert [node["op"] for node in report["nodes"] if node["op"] != "DEPTHWISE_CONV_2D"][:2] == ["CONV_2D", "CONV_2D"]
    assert all(node["reason"] for node in report["nodes"])
    assert_equal(found, runtime.outputs("run", model.file, model.samples))


def test_a_plan_for_this_cpu_is_what_happens(litert: Runtime, isa: str) -> None:
    model = stored("block 16x1")
    cpu = "any-scalar" if isa == "scalar" else f"{this_arch()}-{isa}"
    _, plan = litert.csr(model.file, model.samples, {"plan": cpu})
    _, done = litert.csr(model.file, model.samples, {"isa": isa})
    assert [(node["claimed"], node["format"]) for node in plan["nodes"]] == [
        (node["claimed"], node["format"]) for node in done["nodes"]
    ]
