"""Many boards against OpenSSH's scp: `python -m tests.bench_many [BOARDS] [MEGABYTES]`

As many real SSH servers as boards, each with a home of its own, all on this machine. The same files go to all of them:
by scp, one process for each, all at once; and by edgesparse, in turn with it. Then a deploy of a bundle of that size to
all, the same once more with nothing to do, and a short run on all. Last, 100 MB to one of them, by both in turn. Ends
with what was found beside what it is held to; the exit code is 1 where something is not held.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from edgesparse.boards import reach
from edgesparse.boards.inventory import Board, resolve
from edgesparse.fleet import on_each
from tests.faults.boards import loopback
from tests.sshd import Sshd

ROUNDS = 3
ONE_BOARD_MB = 100
# What it is held to: times as long as scp, for all boards and for one; seconds for a deploy with nothing to do; memory.
LONGEST_OF_SCP, SLOWEST_OF_SCP, AGAIN_S, MEMORY_MB = 1.5, 1 / 0.8, 5.0, 500.0


@dataclass(frozen=True)
class Held:
    """Something that was measured, and what it may be at most."""

    what: str
    found: float
    most: float

    def __str__(self) -> str:
        verdict = "held" if self.found <= self.most else "NOT HELD"
        return f"{self.what}: {self.found:.2f}, at most {self.most:g}: {verdict}"


def main(count: int = 32, megabytes: int = 20) -> int:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        client_home = root / "client"
        os.environ["HOME"] = str(client_home)
        os.environ["EDGESPARSE_CONFIG"] = str(root / "boards.toml")
        os.environ["EDGESPARSE_DATA"] = str(root / "data")
        os.environ.pop("SSH_AUTH_SOCK", None)
        servers = [Sshd(root / "sshd" / str(number), client_home) for number in range(count)]
        try:
            for number, server in enumerate(servers):
                server.start()
                server.know_host()
                loopback(server, f"board{number}")
            boards = [resolve(f"board{number}") for number in range(count)]
            held = [
                Held(f"time to {count} boards over scp's", compare(servers, boards, root, megabytes), LONGEST_OF_SCP)
            ]
            held += deploy_all(boards, root, megabytes)
            one = compare(servers[:1], boards[:1], root, ONE_BOARD_MB)
            held.append(Held("time to one board over scp's", one, SLOWEST_OF_SCP))
        finally:
            for server in servers:
                server.stop()
                server.stop_agent()
    for each in held:
        print(each)
    return int(any(each.found > each.most for each in held))


def compare(servers: list[Sshd], boards: list[Board], root: Path, megabytes: int) -> float:
    """Both ways in turn, connecting included; prints the medians, and returns edgesparse's time over scp's."""
    source = Path(tempfile.mkdtemp(dir=root))
    for number in range(4):
        (source / f"file{number}").write_bytes(os.urandom(megabytes * 250_000))
    put_s, scp_s = [], []
    for _ in range(ROUNDS):
        scp_s.append(timed(lambda: scp_to_all(servers, source)))
        put_s.append(timed(lambda: put_to_all(boards, source)))
    ours_s, theirs_s, total_mb = median(put_s), median(scp_s), len(boards) * megabytes
    print(
        f"{len(boards)} boards, {megabytes} MB each: edgesparse {ours_s:.1f} s ({total_mb / ours_s:.0f} MB/s), "
        f"scp {theirs_s:.1f} s ({total_mb / theirs_s:.0f} MB/s); edgesparse takes {ours_s / theirs_s:.2f} times as long"
    )
    return ours_s / theirs_s


def put_to_all(boards: list[Board], source: Path) -> None:
    def put(board: Board) -> None:
        transport = reach(board)
        transport.put(
            [(path, f"{transport.home}/put/{path.name}") for path in sorted(source.iterdir())], lambda n: None
        )
        transport.close()

    failed = [outcome.error for outcome in on_each(boards, put) if outcome.error]
    if failed:
        raise failed[0]


def scp_to_all(servers: list[Sshd], source: Path) -> None:
    copies = []
    for server in servers:
        options = ["-q", "-r", "-P", str(server.port), "-i", str(server.identity)]
        options += ["-o", f"UserKnownHostsFile={server.known_hosts}"]
        server.board_home.mkdir(parents=True, exist_ok=True)
        target = f"{server.user}@{server.address}:{server.board_home}/scp-{source.name}"
        copies.append(subprocess.Popen(["scp", *options, str(source), target]))
    if any([copy.wait() for copy in copies]):
        raise SystemExit("scp failed")


def deploy_all(boards: list[Board], root: Path, megabytes: int) -> list[Held]:
    """What a user does, in a process of its own, whose time and memory are measured."""
    bundle = make_bundle(root, megabytes)
    names = ",".join(board.name for board in boards)
    command = [sys.executable, "-m", "edgesparse.cli"]
    common = [str(bundle), "--boards", names, "--backend", "xnnpack", "--json"]
    steps: list[tuple[str, list[str]]] = [
        ("deploy", ["deploy", *common]),
        ("deploy again", ["deploy", *common]),
        ("bench", ["bench", *common, "--rounds", "1", "--samples", "5"]),
    ]
    took_s, memory_mb = {}, 0.0
    for title, arguments in steps:
        started = time.perf_counter()
        with subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout is not None
            rows = json.loads(process.stdout.read())["boards"]
            _, _, usage = os.wait4(process.pid, 0)
            process.returncode = 0
        took_s[title], used_mb = time.perf_counter() - started, usage.ru_maxrss / 1024
        memory_mb = max(memory_mb, used_mb)
        ok = sum(row["status"] == "ok" for row in rows)
        print(f"{title}: {took_s[title]:.1f} s, {ok} of {len(rows)} boards well, {used_mb:.0f} MB of memory at most")
        if ok < len(rows):
            raise SystemExit(f"{title} failed: {next(row['reason'] for row in rows if row['status'] != 'ok')}")
    return [
        Held("seconds of a deploy with nothing to do", took_s["deploy again"], AGAIN_S),
        Held("MB of memory", memory_mb, MEMORY_MB),
    ]


def make_bundle(root: Path, megabytes: int) -> Path:
    """A bundle of about that many megabytes: a wide layer of noise, stored dense twice and once with 80 % zeros."""
    import numpy as np

    from edgesparse import sparsify
    from edgesparse.sparsify import make_recipe
    from tests.kernels.graphs import Graph

    generator, inputs = np.random.default_rng(0), 2048
    outputs = round(megabytes * 1e6 / 2.4 / 4 / inputs)
    graph = Graph(1, 2, 2, inputs)
    weights = generator.normal(size=(outputs, inputs)).astype(np.float32)
    y = graph.fully_connected(graph.pool(graph.input), weights, np.zeros(outputs, np.float32))
    (root / "wide.tflite").write_bytes(graph.finish(y))
    return sparsify(root / "wide.tflite", make_recipe("unstructured", 0.8), root / "bundle").path


def timed(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


if __name__ == "__main__":
    raise SystemExit(main(*map(int, sys.argv[1:])))
