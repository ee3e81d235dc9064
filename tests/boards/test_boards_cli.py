"""`edgesparse boards`: add, list, probe, setup, remove, as a user types them, on a real SSH server."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import platformdirs
import psutil
import pytest

from edgesparse.boards.editing import add_board, remove_board
from edgesparse.boards.facts import parse_facts
from edgesparse.boards.inventory import list_boards, resolve
from edgesparse.errors import UsageError
from tests.sshd import Sshd
from tests.waiting import wait_until
from tests.wheelhouse import add_wheel, use_index

COMMENTED = """\
# The lab's boards. Ask Ada before you change one.
version = 1

[boards.orin]   # behind the window
type = "jetson-orin"
host = "10.0.0.5"
threads = [1, 4]  # never 8
"""


@pytest.fixture
def inventory() -> Path:
    path = Path(os.environ["EDGESPARSE_CONFIG"])
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgesparse.cli", "boards", *arguments], capture_output=True, text=True, check=False
    )


def test_what_the_user_wrote_stays(inventory: Path) -> None:
    inventory.write_text(COMMENTED)
    add_board("pi", {"type": "raspberrypi5", "host": "10.0.0.6", "user": "pi", "port": None, "threads": [1]})
    assert inventory.read_text().startswith(COMMENTED)
    assert resolve("pi").address == "pi@10.0.0.6"
    assert [board.name for board in list_boards()] == ["local", "orin", "pi"]
    remove_board("pi")
    assert inventory.read_text() == COMMENTED


def test_a_first_board_makes_the_file(inventory: Path) -> None:
    add_board("a.b", {"type": "raspberrypi5", "host": "10.0.0.6"})
    assert inventory.read_text().startswith("version = 1\n")
    assert resolve("a.b").host == "10.0.0.6"


@pytest.mark.parametrize("name", ["", "a b", "../x", "a,b", "tag:x", "größe", "-x", "lab/pi", "x" * 65])
def test_a_name_that_runs_and_selections_cannot_hold(inventory: Path, name: str) -> None:
    with pytest.raises(UsageError, match="Expected a board's name of at most 64 ASCII letters"):
        add_board(name, {"type": "raspberrypi5", "host": "10.0.0.6"})
    assert not inventory.exists()
    done = cli("add", "--host", "127.0.0.1:9", "--", name)  # before it is reached
    assert done.returncode == 2 and "Expected a board's name" in " ".join(done.stderr.split())


def test_what_cannot_be_used_changes_nothing(inventory: Path) -> None:
    with pytest.raises(UsageError, match="no board type 'toaster'"):
        add_board("t", {"type": "toaster", "host": "10.0.0.6"})
    assert not inventory.exists()
    inventory.write_text(COMMENTED)
    for name, fields, says in (
        ("t", {"type": "toaster", "host": "10.0.0.6"}, "no board type"),
        ("t", {"type": "raspberrypi5", "host": "-o evil"}, "Expected an address"),
        ("orin", {"type": "raspberrypi5", "host": "10.0.0.6"}, "is in .* already"),
        ("local", {"type": "raspberrypi5", "host": "10.0.0.6"}, "this machine"),
    ):
        with pytest.raises(UsageError, match=says):
            add_board(name, dict(fields))
        assert inventory.read_text() == COMMENTED
    with pytest.raises(UsageError, match="no board 'pi' in "):
        remove_board("pi")
    add_board("orin", {"type": "raspberrypi5", "host": "10.0.0.6"}, force=True)
    assert resolve("orin").type.name == "raspberrypi5"


def test_a_file_that_is_no_inventory_is_left_alone(inventory: Path) -> None:
    inventory.write_text("boards = 3\n")
    with pytest.raises(UsageError):
        add_board("pi", {"type": "raspberrypi5", "host": "10.0.0.6"})
    assert inventory.read_text() == "boards = 3\n"


def test_the_whole_life_of_a_board(sshd: Sshd, inventory: Path) -> None:
    done = cli("add", "loop", "--host", sshd.host, "--python", sys.executable)
    assert done.returncode == 0, done.stderr
    assert "loop is a x86-64: it is x86_64" in done.stderr
    assert resolve("loop").address == sshd.host
    assert "loop" in cli().stdout and "loop" in cli("list").stdout
    assert [board["name"] for board in json.loads(cli("--json").stdout)["boards"]] == ["local", "loop"]

    found = json.loads(cli("probe", "loop", "--json").stdout)
    assert found["facts"]["arch"] == "x86_64"
    assert found["fits"]["type"] == "x86-64"
    assert "fits" in cli("probe", "loop").stdout
    said = parse_facts(cli("probe", "loop", "--raw").stdout)
    assert (said.arch, said.pythons[0].path) == (found["facts"]["arch"], found["facts"]["pythons"][0]["path"])

    assert "nothing to do" in cli("setup", "loop", "--dry-run").stdout
    assert not (sshd.board_home / "agent").exists()
    done = cli("setup", "loop")
    assert done.returncode == 0, done.stderr
    assert "loop is ready" in done.stderr

    refused = cli("remove", "loop", "--purge")
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert (sshd.board_home / "agent").exists()
    done = cli("remove", "loop", "--purge", "--yes")
    assert done.returncode == 0, done.stderr
    assert not sshd.board_home.exists()
    assert cli("remove", "loop").returncode == 2


def stop_agent(sshd: Sshd) -> None:
    """And wait until it has ended."""
    assert subprocess.run(
        [sys.executable, "-m", "edgesparse.cli", "agent", "stop", "--board", "loop"], capture_output=True, check=False
    ).returncode == 0  # fmt: skip
    wait_until(lambda: not agents(sshd))


def agents(sshd: Sshd) -> list[int]:
    """The processes that serve the board's store."""
    words = ["daemon", "--home", str(sshd.board_home)]
    return [each.pid for each in psutil.process_iter(["cmdline"]) if (each.info["cmdline"] or [])[2:5] == words]


@pytest.fixture
def index(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What this machine's pip finds."""
    use_index(wheels, monkeypatch)
    return wheels


@pytest.mark.usefixtures("index")
def test_a_runtime_is_planned_made_listed_and_removed(sshd: Sshd, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    assert cli("add", "loop", "--host", sshd.host, "--python", str(tmp_path / "bare/bin/python")).returncode == 0
    planned = json.loads(cli("setup", "loop", "--dry-run", "--json").stdout)
    assert planned["dry_run"] is True
    assert {wheel["name"].split("-")[0] for wheel in planned["wheels"]} == {"ai_edge_litert", "numpy", "psutil"}
    assert planned["needed_bytes"] > sum(wheel["bytes"] for wheel in planned["wheels"])
    assert not (sshd.board_home / "runtimes").exists()
    assert "would put: " in cli("setup", "loop", "--dry-run").stdout

    assert cli("setup", "loop").returncode == 0
    (runtime,) = json.loads(cli("setup", "loop", "--list", "--json").stdout)
    assert planned["directory"].endswith("/" + runtime["name"])
    assert any(package.startswith("ai_edge_litert-") for package in runtime["packages"])
    assert runtime["name"] in cli("setup", "loop", "--list").stdout
    assert "nothing to do" in cli("setup", "loop", "--dry-run").stdout

    assert cli("setup", "loop", "--remove", "nonsense").returncode == 2
    assert cli("setup", "loop", "--remove", "../agent").returncode == 2
    refused = cli("setup", "loop", "--remove", runtime["name"])  # the agent has it
    assert refused.returncode == 4
    assert f"{runtime['name']} is in use on loop, by process" in " ".join(refused.stderr.split())
    assert "edgesparse agent stop --board loop" in " ".join(refused.stderr.split())
    assert json.loads(cli("setup", "loop", "--list", "--json").stdout) == [runtime]

    stop_agent(sshd)
    removed = cli("setup", "loop", "--remove", runtime["name"], "--json")
    assert json.loads(removed.stdout)["removed"] == str(sshd.board_home / "runtimes" / runtime["name"])
    assert cli("setup", "loop", "--list", "--json").stdout.strip() == "[]"
    assert list((sshd.board_home / "runtimes").iterdir()) == []


@pytest.mark.usefixtures("index")
def test_setup_does_what_it_says_while_an_agent_runs(sshd: Sshd, tmp_path: Path, wheels: Path) -> None:
    """The agent has the runtime of before; what is planned is another one."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    assert cli("add", "loop", "--host", sshd.host, "--python", str(tmp_path / "bare/bin/python")).returncode == 0
    assert cli("setup", "loop").returncode == 0
    (before,) = json.loads(cli("setup", "loop", "--list", "--json").stdout)

    cpython = f"cp3{sys.version_info.minor}"
    add_wheel(wheels, f"psutil-7.1.0-{cpython}-{cpython}-manylinux_2_17_x86_64")
    shutil.rmtree(platformdirs.user_cache_path("edgesparse") / "wheels")
    planned = json.loads(cli("setup", "loop", "--dry-run", "--json").stdout)
    assert "psutil-7.1.0" in "".join(wheel["name"] for wheel in planned["wheels"])
    done = cli("setup", "loop")
    assert done.returncode == 0, done.stderr
    there = {each["name"] for each in json.loads(cli("setup", "loop", "--list", "--json").stdout)}
    assert there == {before["name"], planned["directory"].rpartition("/")[2]}
    assert cli("setup", "loop", "--remove", before["name"]).returncode == 0, "the agent that runs now has the new one"
    assert cli("setup", "loop", "--remove", planned["directory"].rpartition("/")[2]).returncode == 4


def test_a_runtime_that_cannot_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = tmp_path / "board" / "runtimes" / "0123456789abcdef"
    runtime.mkdir(parents=True)
    program = tmp_path / "bin" / "rm"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'rm: cannot remove it: Read-only file system' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    done = cli("setup", "local", "--remove", runtime.name)
    assert done.returncode == 4
    assert "could not be removed from local: rm: cannot remove it: Read-only file system" in " ".join(
        done.stderr.split()
    )
    assert "removed /" not in done.stderr


@pytest.mark.parametrize("damaged", [False, True], ids=["the same wheels", "another wheel"])
def test_a_board_with_a_network_fetches_its_wheels_itself(
    sshd: Sshd, venv: Path, index: Path, tmp_path: Path, damaged: bool
) -> None:
    assert cli("add", "loop", "--host", sshd.host, "--python", str(venv / "bin/python")).returncode == 0
    there = tmp_path / "there"  # what the board's pip finds
    shutil.copytree(index, there)
    (venv / "pip.conf").write_text(f"[global]\nno-index = true\nfind-links = {there}\n")
    if damaged:
        with zipfile.ZipFile(next(there.glob("psutil*")), "a") as archive:
            archive.writestr("psutil/evil.py", "")
    done = cli("setup", "loop")
    assert done.returncode == 0, done.stderr
    assert "loop fetches ai_edge_litert==" in done.stderr
    assert ("putting ai_edge_litert" in done.stderr) is damaged
    assert not list((sshd.board_home / "runtimes").rglob("evil.py"))
    assert list((sshd.board_home / "runtimes").glob(".part-*")) == []


@pytest.fixture
def no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's pip sees no package index; whoever is reached over SSH has an environment of its own."""
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_RETRIES", "1")
    monkeypatch.delenv("PIP_NO_INDEX", raising=False)


def add_board_with_pip(sshd: Sshd, venv: Path, settings: str) -> None:
    assert cli("add", "loop", "--host", sshd.host, "--python", str(venv / "bin/python")).returncode == 0
    (venv / "pip.conf").write_text(f"[global]\n{settings}\n")


@pytest.mark.usefixtures("no_index")
def test_a_board_with_a_network_serves_a_machine_without_one(sshd: Sshd, venv: Path, wheels: Path) -> None:
    add_board_with_pip(sshd, venv, f"no-index = true\nfind-links = {wheels}")
    planned = cli("setup", "loop", "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert re.search(r"loop would fetch ai-edge-litert>=.* over its own network", " ".join(planned.stdout.split()))
    assert json.loads(cli("setup", "loop", "--dry-run", "--json").stdout)["left_to_board"].keys() >= {"ai-edge-litert"}
    assert not (sshd.board_home / "runtimes").exists()

    done = cli("setup", "loop")
    assert done.returncode == 0, done.stderr
    assert "this machine cannot see the package index" in " ".join(done.stderr.split())
    assert "loop is ready: ai-edge-litert 2.3.0" in done.stderr
    (runtime,) = json.loads(cli("setup", "loop", "--list", "--json").stdout)
    assert {package.partition("-")[0] for package in runtime["packages"]} == {"ai_edge_litert", "numpy", "psutil"}
    kept = [path.name for path in (sshd.board_home / "runtimes").iterdir() if path.name != runtime["name"]]
    assert len(kept) == 1 and kept[0].startswith("chosen-")

    # The second time neither asks an index; once it is removed, the board is asked again.
    (venv / "pip.conf").write_text("[global]\nno-index = true\nfind-links = /nowhere\n")
    again = cli("setup", "loop")
    assert again.returncode == 0 and "fetch" not in again.stderr, again.stderr
    assert "nothing to do" in cli("setup", "loop", "--dry-run").stdout
    stop_agent(sshd)
    assert cli("setup", "loop", "--remove", runtime["name"]).returncode == 0
    assert cli("setup", "loop").returncode == 4


@pytest.mark.usefixtures("no_index")
@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ("index-url = http://127.0.0.1:9/simple", "could not be fetched.* loop could not fetch them either"),
        (
            "no-index = true\nfind-links = /nowhere",
            "There is no TFLite runtime for loop: .*ai-edge-litert: nothing for ai-edge-litert",
        ),
    ],
    ids=["no network there either", "no wheel for it"],
)
def test_neither_has_what_is_needed(sshd: Sshd, venv: Path, settings: str, says: str) -> None:
    add_board_with_pip(sshd, venv, settings)
    done = cli("setup", "loop")
    assert done.returncode == 4
    assert re.search(says, " ".join(done.stderr.split())), done.stderr
    assert not list((sshd.board_home / "runtimes").glob("*"))
