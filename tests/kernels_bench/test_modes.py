"""The ways to measure, with the real kernels on a tiny model; the command lines; what crashes and what is missing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgesparse.errors import UsageError
from kernels.bench import models, suite, table
from kernels.bench.files import BUILD, LIBRARY, find_delegate, find_model
from kernels.bench.modes import Request, in_own_process, run
from kernels.bench.options import setting_of


def test_csr_is_compared_with_xnnpack_and_parity_holds(request_of_tiny: Request) -> None:
    row = run(request_of_tiny)
    assert list(row["cells"]) == ["xnnpack", "xnnpack-sparse", "csr", "csr-all"]
    assert {cell["status"] for cell in row["cells"].values()} == {"ok"}
    assert all(cell["median_ms"] > 0 and cell["speedup"] > 0 for cell in row["cells"].values())
    claimed = row["cells"]["csr-all"]["delegate"]
    assert claimed["claimed"] > 0
    assert sum(claimed["kernels"].values()) == claimed["claimed"]
    assert "measured_saving_ms" in claimed
    assert table.row_lines(row)[0].startswith("mlp-64.unstructured-80")


def test_a_forced_instruction_set_is_the_one_that_ran(request_of_tiny: Request) -> None:
    setting = replace(request_of_tiny.setting, isa="scalar", claims=("all",))
    cell = run(replace(request_of_tiny, setting=setting))["cells"]["csr-all"]
    assert cell["status"] == "ok"
    assert cell["delegate"]["isa"] == "scalar"


def test_overhead_has_a_control(request_of_tiny: Request) -> None:
    row = run(replace(request_of_tiny, mode="overhead"))
    assert list(row["cells"]) == ["xnnpack", "xnnpack-again", "csr"]


def test_scaling_is_each_backends_own(request_of_tiny: Request) -> None:
    row = run(replace(request_of_tiny, mode="scaling"))
    cells = row["cells"]
    assert list(cells) == ["xnnpack", "csr", "csr-all", "xnnpack-2-threads", "csr-2-threads", "csr-all-2-threads"]
    for name in ("xnnpack", "csr", "csr-all"):
        assert "scaling" not in cells[name]
        two = cells[f"{name}-2-threads"]
        assert two["scaling"] == pytest.approx(cells[name]["median_ms"] / two["median_ms"], rel=0.9)
        assert "samples_ms" not in two


def test_memory_is_of_fresh_processes(request_of_tiny: Request) -> None:
    row = run(replace(request_of_tiny, mode="memory"))
    for cell in row["cells"].values():
        assert cell["status"] == "ok", cell
        assert cell["launches"] == 3
        assert cell["peak_mb"] > cell["model_peak_mb"] >= 0
        assert cell["load_ms"] > 0
    assert row["cells"]["csr-all"]["packing_ms"] is not None
    assert row["cells"]["xnnpack"]["packing_ms"] is None


def test_a_process_of_its_own_gives_the_same_kind_of_row(request_of_tiny: Request) -> None:
    row = in_own_process(request_of_tiny)
    assert row["cells"]["csr"]["status"] == "ok"
    assert (row["mode"], row["threads"]) == ("compare", 1)


def test_a_process_that_dies_is_that_rows_trouble_only(
    request_of_tiny: Request, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = replace(request_of_tiny, given=("/nowhere/zeros.tflite", None))
    row = in_own_process(broken)
    assert row["cells"]["csr"]["status"] == "crashed"
    assert "exit code" in capsys.readouterr().err
    assert "CRASHED" in table.row_lines(row)[0]


def test_the_command_line_prints_one_document(
    request_of_tiny: Request, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    zeros, sparse = request_of_tiny.given or ("", "")
    (tmp_path / "mlp-64.2-of-4.zeros.tflite").write_bytes(Path(zeros).read_bytes())
    (tmp_path / "mlp-64.2-of-4.sparse.tflite").write_bytes(Path(sparse or zeros).read_bytes())
    common = ["--model", "mlp-64", "--models-dir", str(tmp_path), "--rounds", "3", "--min-time", "0", "--json"]
    assert models.main([*common, "--pattern", "2:4", "--claim", "all"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert list(row["cells"]) == ["xnnpack", "xnnpack-sparse", "csr-all"]

    assert suite.main([*common, "--variant", "2-of-4", "--only", "models"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["format"], document["kind"], len(document["models"])) == (1, "kernels", 1)
    assert document["delegate"]["file"] == LIBRARY
    assert document["before"]["when"] == "before"


def test_options_become_a_setting() -> None:
    options = models.parser().parse_args(["--model", "mlp-64", "--isa", "avx2", "--claim", "none", "--burst", "4"])
    setting = setting_of(options)
    assert (setting.isa, setting.claims, setting.timing.burst) == ("avx2", ("none",), 4)


def test_every_model_with_every_variant() -> None:
    options = models.parser().parse_args(
        [
            "--model",
            "mlp-64",
            "--model",
            "mobilenetv2-96",
            "--variant",
            "dense",
            "--pattern",
            "block-4x1",
            "--sparsity",
            "0.5",
        ]
    )
    assert [str(request.spec) for request in models.wanted(options)] == [
        "mlp-64.dense", "mlp-64.block-4x1-50", "mobilenetv2-96.dense", "mobilenetv2-96.block-4x1-50",
    ]  # fmt: skip


@pytest.mark.parametrize("arguments", [[], ["--model", "vgg-16"], ["--model", "mlp-64", "--variant", "half"]])
def test_what_there_is_not_is_refused_with_a_sentence(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert models.main(arguments) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_missing_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"mlp-64\.dense\.zeros\.tflite"):
        find_model(Request("mlp-64", "dense").spec, tmp_path)
    with pytest.raises(UsageError, match="Expected the delegate at"):
        find_delegate(tmp_path / LIBRARY)
    monkeypatch.setenv("EDGESPARSE_DELEGATE", str(tmp_path / "other.so"))
    with pytest.raises(UsageError, match=r"other\.so"):
        find_delegate(None)


def test_the_newest_library_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os
    import platform

    monkeypatch.delenv("EDGESPARSE_DELEGATE", raising=False)
    monkeypatch.setattr("kernels.bench.files.BUILD", tmp_path)
    assert tmp_path != BUILD
    for age, arch in ((100, "host"), (50, platform.machine())):
        (tmp_path / arch).mkdir()
        (tmp_path / arch / LIBRARY).touch()
        os.utime(tmp_path / arch / LIBRARY, (1e9 - age, 1e9 - age))
    assert find_delegate(None).parent.name == platform.machine()
