"""A runtime for a board that has none: which wheels, and the real thing on a bare Python of this machine."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edgesparse.boards import reach
from edgesparse.boards.facts import BoardFacts, Interpreter, parse_facts, probe
from edgesparse.boards.inventory import Board, resolve
from edgesparse.boards.provision import RuntimeEnv, choose_python, ensure_runtime
from edgesparse.boards.transport import Transport
from edgesparse.boards.wheels import NoWheel, fetch_wheels, platform_tags
from edgesparse.errors import BoardError

SAMPLES = Path(__file__).parent.parent / "data" / "boards"


def facts(sample: str, **changes: object) -> BoardFacts:
    return dataclasses.replace(parse_facts((SAMPLES / f"{sample}.txt").read_text()), **changes)  # type: ignore[arg-type]


def provide(transport: Transport, board: Board, said: list[str], cache: Path | None = None) -> RuntimeEnv:
    found = probe(transport, board)
    return ensure_runtime(transport, board, found, choose_python(found, board), said.append, cache=cache)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def bare_python(tmp_path: Path) -> str:
    """A Python with nothing but its standard library."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    return str(tmp_path / "bare" / "bin" / "python")


def test_the_platforms_whose_wheels_run_there() -> None:
    tags = platform_tags(facts("jetpack-5"))
    assert tags[0] == "manylinux_2_31_aarch64"
    assert tags[-2:] == ["manylinux_2_17_aarch64", "manylinux2014_aarch64"]
    assert "manylinux_2_34_aarch64" not in tags
    assert "manylinux_2_5_x86_64" in platform_tags(facts("debian-12"))
    with pytest.raises(NoWheel, match="musl"):
        platform_tags(facts("alpine"))


def test_a_python_that_has_everything_is_used_as_it_is(transport: Transport, board: Board) -> None:
    """The second time nothing is imported to find that out: a record in the store says so."""
    board = dataclasses.replace(board, python=sys.executable)
    said: list[str] = []
    runtime = provide(transport, board, said)
    assert (runtime.python, runtime.pythonpath, runtime.name) == (sys.executable, [], "ai-edge-litert")
    assert provide(transport, board, said) == runtime
    assert said == []
    assert len(list((Path(transport.home) / "runtimes").iterdir())) == 1


@pytest.mark.timeout(600)
def test_a_bare_python_is_given_a_runtime_once(bare_python: str, cache: Path) -> None:
    """Fetched from PyPI, pushed, unpacked, imported; the second time nothing is fetched and nothing moves."""
    board = dataclasses.replace(resolve("local"), python=bare_python)
    transport = reach(board)
    said: list[str] = []
    runtime = provide(transport, board, said, cache)
    assert len(said) == 3
    (directory,) = runtime.pythonpath
    assert [path.name for path in Path(directory).parent.iterdir()] == [Path(directory).name]
    code = (
        "import numpy, psutil, ai_edge_litert.interpreter as a; from importlib.metadata import version; a.Interpreter"
    )
    command = [bare_python, "-c", f"{code}; print(version('ai-edge-litert'), numpy.__file__)"]
    shown = subprocess.run(command, env={"PYTHONPATH": directory}, capture_output=True, text=True, check=True).stdout
    assert shown.split()[0] == runtime.version
    assert shown.split()[1].startswith(directory)

    marker = Path(directory) / "marker"
    marker.touch()
    said.clear()
    assert provide(transport, board, said, cache) == runtime
    assert said == []
    assert marker.exists()

    # A runtime that does not work there is not kept, and an older one stays.
    (cached,) = (cache / "wheels").iterdir()
    wheel = next(path for path in cached.iterdir() if path.name.startswith("psutil"))
    good = wheel.read_bytes()
    try:
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("psutil.py", "raise ImportError('made for another board')")
        with pytest.raises(BoardError, match=r"does not work on local .* psutil: made for another board"):
            provide(transport, board, said, cache)
        wheel.write_bytes(b"no zip at all")
        with pytest.raises(BoardError, match=rf"{wheel.name}, fetched earlier, is damaged.* rm -r {cached}"):
            provide(transport, board, said, cache)
    finally:
        wheel.write_bytes(good)
    assert [path.name for path in Path(directory).parent.iterdir()] == [Path(directory).name]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("sample", "board_type", "python", "names"),
    [
        # What the index really has for a Jetson with Ubuntu 20.04: glibc 2.31 rules tflite-runtime 2.14 out.
        ("jetpack-5", "jetson-orin", (3, 9, 5), {"ai_edge_litert"}),
        ("raspberry-pi-os-64", "raspberrypi5", (3, 11, 2), {"ai_edge_litert"}),
    ],
)
def test_wheels_exist_for_the_boards(
    sample: str, board_type: str, python: tuple[int, int, int], names: set[str], cache: Path
) -> None:
    board = resolve(board_type, host="board")
    wheels = fetch_wheels(
        ["ai-edge-litert>=2.1,<2.4"],
        facts(sample),
        Interpreter("python3", python),
        board,
        lambda text: None,
        cache / sample,
    )
    assert {wheel.name.split("-")[0] for wheel in wheels} == names
    assert all("aarch64" in wheel.name and f"cp{python[0]}{python[1]}" in wheel.name for wheel in wheels)


@pytest.mark.timeout(600)
def test_a_board_for_which_there_is_no_wheel(local_transport: Transport, cache: Path) -> None:
    board = resolve("raspberrypi4", host="board")
    arm32 = facts("raspberry-pi-os-64", arch="armv7l")
    with pytest.raises(BoardError) as caught:
        ensure_runtime(
            local_transport, board, arm32, Interpreter("python3", (3, 11, 2)), lambda text: None, cache=cache
        )
    assert "armv7l, Python 3.11, glibc 2.36" in caught.value.message
    assert "ai-edge-litert" in caught.value.message
    assert "python3-numpy" in caught.value.hint
    with pytest.raises(BoardError, match=r"armv7l, Python 3\.12, musl"):
        ensure_runtime(
            local_transport, board, facts("alpine"), Interpreter("python3", (3, 12, 0)), lambda text: None, cache=cache
        )


def test_without_a_network_the_index_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_RETRIES", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(BoardError, match="could not be fetched"):
        fetch_wheels(
            ["psutil>=5.9"],
            facts("debian-12"),
            Interpreter("python3", (3, 11, 2)),
            resolve("local"),
            lambda text: None,
            cache,
        )


@pytest.mark.timeout(600)
def test_a_board_whose_disk_is_too_small(local_transport: Transport, bare_python: str, cache: Path) -> None:
    board = dataclasses.replace(resolve("local"), python=bare_python)
    found = dataclasses.replace(probe(local_transport, board), disk_free_bytes=30_000_000)
    with pytest.raises(BoardError, match=r"is full: the runtime needs \d\d\d MB in .*, 30 MB are free"):
        ensure_runtime(local_transport, board, found, found.pythons[0], lambda text: None, cache=cache)
    assert not Path(local_transport.home).exists()
