"""The command line as a user meets it: exit codes, one sentence per failure, data on stdout and talk on stderr."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from edgesparse.convert import Bundle
from edgesparse.convert.bundle import MANIFEST, describe, read_bundle
from tests.e2e.conftest import bundle
from tests.interrupting import hear_ctrl_c
from tests.sshd import free_port
from tests.tiny import npz

__all__ = ["bundle"]

EXAMPLE = "tests.e2e.example:model"
DATA = "tests.e2e.example:data"


def cli(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgesparse.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def refused(done: subprocess.CompletedProcess[str], code: int, *says: str) -> None:
    """One sentence on stderr, nothing on stdout, no traceback, the right exit code."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error: ") == 1
    for words in says:
        assert words in done.stderr, done.stderr


def test_help_and_version_need_nothing_heavy() -> None:
    heavy = "tensorflow", "tf_keras", "numpy", "paramiko", "scipy", "sklearn", "pandas"
    code = (
        "import sys; sys.argv = ['edgesparse', '--help']\nfrom edgesparse.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        f"print([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert cli("--version").stdout.strip().count(".") == 2


def test_help_is_quick() -> None:
    taken = []
    for _ in range(5):
        started = time.perf_counter()
        assert cli("--help").returncode == 0
        taken.append(time.perf_counter() - started)
    assert min(taken) < 0.5


def test_a_board_that_does_not_exist(tmp_path: Path) -> None:
    refused(cli("explain", tmp_path, "--board", "toaster"), 2, "no board 'toaster'", "raspberrypi5")


def test_a_board_type_without_an_address(bundle: Bundle) -> None:
    refused(cli("deploy", bundle.path, "--board", "jetson"), 2, "--host", "boards.toml")


def test_a_host_that_is_down(bundle: Bundle) -> None:
    done = cli("deploy", bundle.path, "--board", "jetson", "--host", f"nobody@127.0.0.1:{free_port()}")
    assert done.returncode == 4
    assert "Traceback" not in done.stderr
    assert "127.0.0.1" in done.stderr


def test_no_bundle_and_a_damaged_one(bundle: Bundle, tmp_path: Path) -> None:
    refused(cli("deploy", tmp_path), 3, "found no manifest.json", "edgesparse convert")
    damaged = tmp_path / "damaged"
    shutil.copytree(bundle.path, damaged)
    with (damaged / "dense.tflite").open("r+b") as file:
        file.seek(100)
        file.write(b"\xff\xfe\xfd")
    refused(cli("bench", damaged), 3, "damaged")


def test_outputs_that_are_not_the_golden_ones(bundle: Bundle, tmp_path: Path) -> None:
    import msgspec
    import numpy as np

    wrong = tmp_path / "wrong"
    shutil.copytree(bundle.path, wrong)
    manifest = read_bundle(wrong).manifest
    golden = manifest.variants[1].golden
    with np.load(wrong / golden.path) as archive:
        (wrong / golden.path).write_bytes(npz(archive["0"] + 0.5))
    variant = msgspec.structs.replace(manifest.variants[1], golden=describe(wrong, golden.path))
    variants = [manifest.variants[0], variant, *manifest.variants[2:]]
    (wrong / MANIFEST).write_bytes(msgspec.json.encode(msgspec.structs.replace(manifest, variants=variants)))
    try:
        done = cli("deploy", wrong, "--json")
        assert done.returncode == 5
        assert "does not give the golden outputs" in done.stderr
        checks = {check["cell"]: check["status"] for check in json.loads(done.stdout)["checks"]}
        assert checks["dense/xnnpack/1"] == "ok"
        assert checks["unstructured/xnnpack/1"] == "failed"
        report = json.loads(cli("bench", wrong, "--rounds", "1", "--json").stdout)
        failed = report["variants"][1]["backends"][0]
        assert (failed["status"], failed["samples_ms"]) == ("failed", [])
        assert (failed["kind"], "off by 0.5" in failed["reason"]) == ("parity", True)
        assert report["variants"][0]["backends"][0]["status"] == "ok"
    finally:
        cli("agent", "stop", "--force")


def test_a_model_that_is_not_there_or_is_none(tmp_path: Path) -> None:
    arguments = ("--data", DATA, "--recipe", "unstructured-80", "--out", tmp_path / "out")
    refused(cli("prune", tmp_path / "no.keras", *arguments), 3, "no.keras")
    text = tmp_path / "text.keras"
    text.write_text("hello")
    refused(cli("prune", text, *arguments), 3, "text.keras")
    refused(cli("explain", text.with_suffix(".tflite")), 3, "text.tflite")
    assert not (tmp_path / "out").exists()


def test_a_keras_3_model_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "three.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.5.0", "date_saved": "2026-01-01@00:00:00"}))
        archive.writestr("config.json", json.dumps({"module": "keras", "class_name": "Functional", "config": {}}))
        archive.writestr("model.weights.h5", b"")
    done = cli("prune", path, "--data", DATA, "--recipe", "unstructured-80", "--out", tmp_path / "out")
    refused(done, 3, "Keras 3", "tf_keras")


def test_a_recipe_with_an_unknown_key_or_an_impossible_pattern(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    for text, says in (
        ('pattern = "unstructured"\nsparsity = 0.8\ncolour = "red"', "colour"),
        ('pattern = "4:2"', "4:2"),
        ('pattern = "block 0x4"\nsparsity = 0.5', "block 0x4"),
    ):
        recipe.write_text(f'version = 1\nname = "mine"\n[prune]\n{text}\n')
        refused(cli("prune", EXAMPLE, "--data", DATA, "--recipe", recipe, "--out", tmp_path / "out"), 3, says)
    refused(cli("prune", EXAMPLE, "--recipe", "nosuch", "--out", tmp_path / "out"), 3, "unstructured-80")


def test_a_function_that_does_not_exist(tmp_path: Path) -> None:
    done = cli("prune", "no_such_module:model", "--recipe", "unstructured-80", "--out", tmp_path / "out")
    refused(done, 2, "no_such_module")


def test_wrong_usage_is_2(bundle: Bundle) -> None:
    assert cli("bench").returncode == 2
    assert cli("bench", bundle.path, "--rounds", "0").returncode == 2
    assert cli("frobnicate").returncode == 2
    refused(cli("bench", bundle.path, "--backend", "cuda"), 2, "no backend 'cuda'", "xnnpack")
    refused(cli("bench", bundle.path, "--variant", "odd"), 2, "no variant 'odd'", "unstructured")
    cli("agent", "stop", "--force")


def test_no_run_yet_and_no_such_run() -> None:
    refused(cli("report", "--last"), 2, "edgesparse bench")
    refused(cli("report", "20200101-000000-x-0000"), 2, "no run")


def test_no_agent_to_ask(tmp_path: Path) -> None:
    asked = cli("agent", "status")
    assert (asked.returncode, "no agent runs on local" in asked.stdout) == (0, True)
    assert json.loads(cli("agent", "status", "--json").stdout) == {"state": "not running"}
    stopped = cli("agent", "stop")
    assert (stopped.returncode, "no agent runs on local" in stopped.stderr) == (0, True)
    refused(cli("agent", "logs"), 4, "no log of an agent", "edgesparse agent start")
    assert not (tmp_path / "board").exists(), "nothing was put there to ask"


@pytest.mark.parametrize(("after", "left"), [("epoch 1/", [".out.tuning.checkpoint.npz"]), ("loading", [])])
def test_ctrl_c_while_pruning_leaves_its_checkpoint_at_most(tmp_path: Path, after: str, left: list[str]) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "edgesparse.cli", "prune", EXAMPLE, "--data", DATA, "--recipe", "unstructured-80"]
    assert interrupted([*command, "--out", str(out)], after) == 130
    assert [path.name for path in tmp_path.iterdir()] == left


def test_ctrl_c_while_converting_leaves_the_old_bundle(bundle: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    shutil.copytree(bundle.path, out)
    command = [sys.executable, "-m", "edgesparse.cli", "convert", EXAMPLE, "--data", DATA, "--force", "--out", str(out)]
    assert interrupted(command, "converting") == 130
    assert read_bundle(out).id == bundle.id
    assert [path.name for path in tmp_path.glob(".*")] == []


def interrupted(command: list[str], after: str) -> int:
    """Press Ctrl-C once the command has said something; its exit code."""
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, preexec_fn=hear_ctrl_c
    )
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if after in line:
            process.send_signal(signal.SIGINT)
            break
    said += process.stderr.read()
    code = process.wait()
    assert "Traceback" not in said, said
    assert "Interrupted." in said
    return code
