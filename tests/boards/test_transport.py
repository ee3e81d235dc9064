"""The contract of a transport, over every one of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from edgesparse.agent.leftovers import writer
from edgesparse.boards.local import LocalTransport
from edgesparse.boards.transport import Transport, missing
from edgesparse.errors import BoardError
from tests.boards.conftest import make_files
from tests.waiting import wait_until


def silent(count: int) -> None:
    pass


def test_a_command_gives_its_exit_code_and_both_its_outputs(transport: Transport) -> None:
    done = transport.run(["sh", "-c", "cat; echo out; echo err >&2; exit 3"], input=b"in ", timeout_s=60)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"in out\n", b"err\n")


def test_a_command_without_input_sees_its_end(transport: Transport) -> None:
    assert transport.run(["cat"], timeout_s=60).stdout == b""


def test_arguments_arrive_as_they_are(transport: Transport) -> None:
    odd = ["a b", "'", '"', "$HOME", "`id`", "*", "\\", "ü", "", "a\nb", "-n"]
    code = "import sys; print(sys.argv[1:])"
    assert transport.run([sys.executable, "-c", code, *odd], timeout_s=60).stdout.decode() == f"{odd}\n"


def test_a_lot_of_output_does_not_stall(transport: Transport) -> None:
    code = "import sys; sys.stderr.write('y' * 3_000_000); sys.stdout.write('x' * 5_000_000)"
    done = transport.run([sys.executable, "-c", code], timeout_s=60)
    assert (len(done.stdout), len(done.stderr)) == (5_000_000, 3_000_000)


def test_a_lot_of_input_does_not_stall(transport: Transport) -> None:
    data = os.urandom(4_000_000)
    assert transport.run(["cat"], input=data, timeout_s=60).stdout == data


def test_input_that_nobody_reads_is_no_failure(transport: Transport) -> None:
    assert transport.run(["true"], input=bytes(4_000_000), timeout_s=60).returncode == 0


def test_a_missing_program_is_a_return_code(transport: Transport) -> None:
    done = transport.run(["/no/such/program"], timeout_s=60)
    assert done.returncode == 127
    assert b"/no/such/program" in done.stderr


@pytest.mark.parametrize("command", [["sleep", "100"], ["sh", "-c", "exec >&- 2>&-; exec sleep 100"]])
def test_a_command_that_does_not_end_has_a_deadline(transport: Transport, command: list[str]) -> None:
    started = time.monotonic()
    with pytest.raises(BoardError, match=f"{command[0]} did not end within 0.5 s"):
        transport.run(command, timeout_s=0.5)
    assert time.monotonic() - started < 60
    assert transport.run(["echo", "still there"], timeout_s=60).stdout == b"still there\n"


def test_a_stream_talks_both_ways_line_by_line(transport: Transport) -> None:
    stream = transport.open(["sh", "-c", 'while read -r line; do echo "<$line>"; done'])
    for word in (b"one", b"two"):
        stream.write(word + b"\n")
        assert stream.readline(60) == b"<" + word + b">\n"
    stream.write(b"three\nfour\n")
    assert [stream.readline(60), stream.readline(60)] == [b"<three>\n", b"<four>\n"]
    stream.close()


def test_half_a_line_is_kept_over_a_time_out(transport: Transport) -> None:
    stream = transport.open(["sh", "-c", "printf half; read -r _; echo ' and half'; exec cat"])
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        stream.readline(0.7)
    assert time.monotonic() - started > 0.6
    stream.write(b"go\n")
    assert stream.readline(60) == b"half and half\n"
    stream.close()


def test_long_lines_come_whole(transport: Transport) -> None:
    stream = transport.open([sys.executable, "-c", "print('x' * 3_000_000); print('y')"])
    assert [len(stream.readline(60)), stream.readline(60)] == [3_000_001, b"y\n"]
    stream.close()


def test_a_stream_that_ends_says_so_and_why(transport: Transport) -> None:
    stream = transport.open(["sh", "-c", "echo last; printf cut; echo why >&2; exit 1"])
    assert [stream.readline(60), stream.readline(60), stream.readline(60)] == [b"last\n", b"cut", b""]
    assert stream.stderr_tail() == "why\n"
    stream.close()


def test_stderr_is_kept_to_its_tail(transport: Transport) -> None:
    code = "import sys; sys.stderr.write('y' * 5_000_000 + 'end'); sys.stderr.flush(); print('done')"
    stream = transport.open([sys.executable, "-c", code])
    assert stream.readline(60) == b"done\n"
    assert stream.readline(60) == b""
    assert 1000 < len(stream.stderr_tail()) < 10_000
    assert stream.stderr_tail().endswith("yyyend")
    stream.close()


def test_writing_to_a_command_that_ended_is_a_lost_link(transport: Transport) -> None:
    stream = transport.open(["sh", "-c", "exec <&-; echo bye"])
    assert stream.readline(60) == b"bye\n"
    assert stream.readline(60) == b""
    with pytest.raises(ConnectionError):
        for _ in range(200):
            stream.write(bytes(100_000))
    stream.close()


def test_closing_a_stream_ends_what_reads_from_it(transport: Transport) -> None:
    stream = transport.open(["sh", "-c", "echo $$; exec cat >/dev/null"])
    pid = int(stream.readline(60))
    stream.close()
    wait_until(lambda: not psutil.pid_exists(pid))


def test_files_arrive_whole_and_private_with_no_leftovers(transport: Transport, tmp_path: Path) -> None:
    local = make_files(tmp_path / "here", 0, 1, 511, 512, 513, 70_000, 2_000_000)
    target = Path(transport.home) / "objects"
    pairs = [(path, f"{target}/{path.name}") for path in local]
    pairs.append((local[3], f"{transport.home}/other/{'long' * 40} name's"))
    seen: list[int] = []
    assert transport.put(pairs, seen.append) > 0
    assert sum(seen) == sum(path.stat().st_size for path, _ in pairs)
    for path, remote in pairs:
        assert Path(remote).read_bytes() == path.read_bytes()
        assert Path(remote).stat().st_mode & 0o077 == 0
    assert sorted(path.name for path in target.iterdir()) == [path.name for path in local]
    assert len(list((target.parent / "other").iterdir())) == 1
    assert target.stat().st_mode & 0o077 == 0


def test_zeros_are_compressed_on_a_link_and_arrive_as_they_were(transport: Transport, tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(bytes(700_000) + os.urandom(100_000))
    remote = f"{transport.home}/objects/weights"
    sent_bytes = transport.put([(file, remote)], silent)
    assert Path(remote).read_bytes() == file.read_bytes()
    if isinstance(transport, LocalTransport):
        assert sent_bytes > 800_000
    else:
        assert 100_000 < sent_bytes < 110_000


def test_nothing_to_put_is_nothing_done(transport: Transport) -> None:
    assert transport.put([], silent) == 0
    assert not Path(transport.home).exists()


def test_a_file_is_replaced_at_once(transport: Transport, tmp_path: Path) -> None:
    (local,) = make_files(tmp_path / "here", 5)
    target = f"{transport.home}/thing"
    transport.put([(local, target)], silent)
    local.write_bytes(b"new")
    with Path(target).open("rb") as old:
        transport.put([(local, target)], silent)
        assert Path(target).read_bytes() == b"new"
        assert old.read() != b"new"


def test_what_is_missing_is_asked_at_once(transport: Transport, tmp_path: Path) -> None:
    (local,) = make_files(tmp_path / "here", 5)
    there, absent = f"{transport.home}/a/there ü", f"{transport.home}/a/odd  name' "
    transport.put([(local, there)], silent)
    assert missing(transport, [there, absent]) == [absent]
    assert missing(transport, []) == []


def test_a_place_that_takes_no_files_is_named(transport: Transport, tmp_path: Path) -> None:
    (local,) = make_files(tmp_path / "here", 5)
    with pytest.raises(BoardError, match=r"could not take the files: .*/proc/nowhere"):
        transport.put([(local, "/proc/nowhere/file")], silent)


def test_a_target_in_the_way_is_named_and_nothing_is_left(transport: Transport, tmp_path: Path) -> None:
    (local,) = make_files(tmp_path / "here", 5)
    target = Path(transport.home) / "objects" / "name"
    (target / "inside" / "file0").mkdir(parents=True)
    with pytest.raises(BoardError, match="could not take the files"):
        transport.put([(local, f"{target}/inside")], silent)
    assert [path.name for path in target.iterdir()] == ["inside"]


def test_a_file_that_cannot_fit_moves_no_byte(transport: Transport, tmp_path: Path) -> None:
    huge = tmp_path / "huge"
    free_bytes = psutil.disk_usage(str(tmp_path)).free
    with huge.open("wb") as file:
        file.truncate(free_bytes + 2_000_000_000)  # a hole: it takes no space here
    seen: list[int] = []
    with pytest.raises(
        BoardError, match=rf"is full: {huge.stat().st_size / 1e6:.1f} MB are needed in .*, \d+\.\d MB are"
    ):
        transport.put([(huge, f"{transport.home}/objects/huge")], seen.append)
    assert seen == []
    assert list((Path(transport.home) / "objects").iterdir()) == []


def test_a_disk_that_fills_meanwhile_is_named_and_nothing_is_left(transport: Transport, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", small], capture_output=True)
    if mount.returncode:
        pytest.skip("only root may mount a small file system")
    try:
        (local,) = make_files(tmp_path / "here", 16_000_000)

        def fill(count: int) -> None:
            if not (small / "rival").exists():
                (small / "rival").write_bytes(bytes(12_000_000))

        with pytest.raises(BoardError, match=r"filled up while 16.0 MB were put"):
            transport.put([(local, f"{small}/objects/big")], fill)
        assert list((small / "objects").iterdir()) == []
    finally:
        subprocess.run(["umount", "-l", small], check=True)


def test_a_writer_that_was_interrupted_leaves_nothing(transport: Transport, tmp_path: Path) -> None:
    (local,) = make_files(tmp_path / "here", 8_000_000)

    def interrupt(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        transport.put([(local, f"{transport.home}/objects/big")], interrupt)
    wait_until(lambda: list((Path(transport.home) / "objects").iterdir()) == [])


def test_leftovers_of_the_dead_are_swept_and_those_of_the_living_are_not(transport: Transport, tmp_path: Path) -> None:
    folder = Path(transport.home) / "objects"
    folder.mkdir(parents=True)
    dead = subprocess.Popen(["true"])
    dead.wait()
    pid, began, boot = writer().split(".")
    (folder / f".part-{dead.pid}.{began}.{boot}" / "0").mkdir(parents=True)
    (folder / f".part-{dead.pid}.{began}.{boot}" / "0" / "big").write_bytes(b"half")
    stay = [f".part-{writer()}-big", ".part-agent", ".part-1.2.3.4"]  # the living, and names of another form
    for name in (
        f".part-{dead.pid}.{began}.{boot}-sums",
        f".part-{pid}.{int(began) + 1}.{boot}-another-process-had-the-number",
        f".part-{pid}.{began}.00000000-before-a-power-cut",
        *stay,
    ):
        (folder / name).write_bytes(b"half")
    (local,) = make_files(tmp_path / "here", 5)
    transport.put([(local, f"{folder}/file")], silent)
    assert {path.name for path in folder.iterdir()} == {"file", *stay}


def test_a_file_that_arrives_damaged_is_refused(transport: Transport, tmp_path: Path) -> None:
    """The temporary file is changed on the board while the second one is on its way."""
    local = make_files(tmp_path / "here", 1_000, 9_000_000)
    folder = Path(transport.home) / "objects"

    def damage(count: int) -> None:
        for part in folder.glob(".part-*/*/file0"):
            if part.stat().st_size == 1_000:
                part.write_bytes(b"z" * 1_000)

    with pytest.raises(BoardError, match=r"with another SHA-256 than they were sent with: .*file0'?: FAILED"):
        transport.put([(path, f"{folder}/{path.name}") for path in local], damage)
    assert list(folder.iterdir()) == []


def test_a_terminal_s_interrupt_does_not_reach_what_runs_there(local_transport: Transport) -> None:
    stream = local_transport.open(["sh", "-c", "echo $$; exec cat"])
    pid = int(stream.readline(60))
    assert os.getpgid(pid) != os.getpgid(0)
    os.kill(pid, signal.SIGKILL)
    assert stream.readline(60) == b""
    stream.close()
