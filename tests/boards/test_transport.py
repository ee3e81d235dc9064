"""One contract, two transports: this machine, and a real OpenSSH server."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgesparse.boards import reach
from edgesparse.boards.inventory import Board, resolve
from edgesparse.boards.transport import LinkLost, Transport, missing
from edgesparse.convert.bundle import sha256_of
from edgesparse.errors import BoardError
from tests.sshd import Sshd, sshd  # noqa: F401  (a fixture)


@pytest.fixture(params=["local", "ssh"])
def board(request: pytest.FixtureRequest) -> Board:
    if request.param == "local":
        return resolve("local")
    server: Sshd = request.getfixturevalue("sshd")
    return resolve("x86-64", host=server.host)


@pytest.fixture
def transport(board: Board) -> Iterator[Transport]:
    transport = reach(board)
    yield transport
    transport.close()


def files(directory: Path, *sizes: int) -> list[Path]:
    directory.mkdir(exist_ok=True)
    paths = []
    for number, size in enumerate(sizes):
        path = directory / f"file{number}"
        path.write_bytes(hashlib.sha256(bytes([number])).digest() * (size // 32) + b"x" * (size % 32))
        paths.append(path)
    return paths


def test_a_command_gives_its_exit_code_and_both_its_outputs(transport: Transport) -> None:
    done = transport.run(["sh", "-c", "cat; echo out; echo err >&2; exit 3"], input=b"in ", timeout_s=10)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"in out\n", b"err\n")


def test_arguments_arrive_as_they_are(transport: Transport) -> None:
    odd = ["a b", "'", '"', "$HOME", "`id`", "*", "\\", "ü", ""]
    code = "import sys; print(sys.argv[1:])"
    assert transport.run([sys.executable, "-c", code, *odd], timeout_s=10).stdout.decode() == f"{odd}\n"


def test_a_lot_of_output_does_not_stall(transport: Transport) -> None:
    code = "import sys; sys.stdout.write('x' * 5_000_000); sys.stderr.write('y' * 3_000_000)"
    done = transport.run([sys.executable, "-c", code], timeout_s=30)
    assert (len(done.stdout), len(done.stderr)) == (5_000_000, 3_000_000)


def test_a_command_that_does_not_end_has_a_deadline(transport: Transport) -> None:
    with pytest.raises(BoardError, match="did not end"):
        transport.run(["sleep", "30"], timeout_s=0.5)


def test_a_stream_talks_both_ways_line_by_line(transport: Transport) -> None:
    stream = transport.open(["sh", "-c", 'while read -r line; do echo "<$line>"; done; echo gone >&2'])
    for word in (b"one", b"two"):
        stream.write(word + b"\n")
        assert stream.readline(5) == b"<" + word + b">\n"
    with pytest.raises(TimeoutError):
        stream.readline(0.2)
    stream.close()


def test_a_stream_that_ends_says_so(transport: Transport) -> None:
    stream = transport.open(["sh", "-c", "echo last; echo why >&2; exit 1"])
    assert stream.readline(5) == b"last\n"
    assert stream.readline(5) == b""
    assert "why" in stream.stderr_tail()
    stream.close()


def test_files_arrive_whole_and_private_with_no_leftovers(transport: Transport, tmp_path: Path) -> None:
    local = files(tmp_path / "here", 0, 1, 31, 70_000, 2_000_000)
    target = f"{transport.home}/objects"
    seen: list[int] = []
    pairs = [(path, f"{target}/{path.name}") for path in local]
    assert transport.put(pairs, seen.append) == sum(path.stat().st_size for path in local) == sum(seen)
    for path in local:
        assert sha256_of(Path(target) / path.name) == sha256_of(path)
    assert sorted(path.name for path in Path(target).iterdir()) == sorted(path.name for path in local)
    assert Path(target).stat().st_mode & 0o077 == 0


def test_a_file_is_replaced_at_once(transport: Transport, tmp_path: Path) -> None:
    (old,) = files(tmp_path / "here", 5)
    target = f"{transport.home}/thing"
    transport.put([(old, target)], lambda count: None)
    old.write_bytes(b"new")
    transport.put([(old, target)], lambda count: None)
    assert Path(target).read_bytes() == b"new"


def test_what_is_missing_is_asked_at_once(transport: Transport, tmp_path: Path) -> None:
    (local,) = files(tmp_path / "here", 5)
    there, absent = f"{transport.home}/a/there", f"{transport.home}/a/odd name'"
    transport.put([(local, there)], lambda count: None)
    assert missing(transport, [there, absent]) == [absent]
    assert missing(transport, []) == []


def test_a_place_that_takes_no_files_is_named(transport: Transport, tmp_path: Path) -> None:
    (local,) = files(tmp_path / "here", 5)
    with pytest.raises(BoardError, match="could not take the files"):
        transport.put([(local, "/proc/nowhere/file")], lambda count: None)


def test_a_full_disk_is_named_and_nothing_is_left(transport: Transport, tmp_path: Path, small_disk: Path) -> None:
    local = files(tmp_path / "here", 100_000, 9_000_000)
    with pytest.raises(BoardError, match=r"disk of .* is full: 9\.1 MB are needed"):
        transport.put([(path, f"{small_disk}/objects/{path.name}") for path in local], lambda count: None)
    assert list((small_disk / "objects").iterdir()) == []


def test_what_a_broken_link_left_is_swept_by_the_next_put(transport: Transport, tmp_path: Path) -> None:
    folder = Path(transport.home) / "objects"
    folder.mkdir(parents=True)
    (folder / ".part-999999999-0-old").write_bytes(b"half")
    (local,) = files(tmp_path / "here", 5)
    transport.put([(local, f"{folder}/file")], lambda count: None)
    assert [path.name for path in folder.iterdir()] == ["file"]


def test_a_cut_link_is_noticed_and_leaves_nothing_under_the_right_name(sshd: Sshd, tmp_path: Path) -> None:  # noqa: F811
    transport = reach(resolve("x86-64", host=sshd.host))
    (local,) = files(tmp_path / "here", 8_000_000)
    moved = 0

    def cut_half_way(count: int) -> None:
        nonlocal moved
        moved += count
        if moved > 1_000_000 > moved - count:
            sshd.cut()

    with pytest.raises(LinkLost):
        transport.put([(local, f"{transport.home}/objects/big")], cut_half_way)
    assert not (sshd.board_home / "objects" / "big").exists()
    with pytest.raises(LinkLost):
        transport.run(["true"], timeout_s=5)


def test_a_stream_over_a_cut_link_ends(sshd: Sshd) -> None:  # noqa: F811
    transport = reach(resolve("x86-64", host=sshd.host))
    stream = transport.open(["cat"])
    sshd.cut()
    assert stream.readline(5) == b""
    with pytest.raises(LinkLost):
        for _ in range(100):
            stream.write(b"x" * 100_000)


def test_the_home_of_the_store_can_be_chosen(sshd: Sshd) -> None:  # noqa: F811
    board = resolve("x86-64", host=sshd.host)
    assert reach(board).home == str(sshd.board_home)
    assert reach(dataclasses.replace(board, home="/tmp/elsewhere")).home == "/tmp/elsewhere"
