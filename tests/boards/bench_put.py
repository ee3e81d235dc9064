"""How fast files reach a board: `put` against OpenSSH's scp over loopback: `python -m tests.boards.bench_put`

`put` hashes on both sides and syncs to disk, which scp does not.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median

from edgesparse.boards import reach
from edgesparse.boards.inventory import resolve
from tests.sshd import Sshd

SIZE_BYTES = 100_000_000
SMALL_FILES, SMALL_BYTES = 20, 200_000
ROUNDS = 5


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        server = Sshd(Path(directory) / "sshd")
        os.environ["HOME"] = str(server.client_home)
        os.environ.pop("SSH_AUTH_SOCK", None)
        server.start()
        server.know_host()
        try:
            compare("100 MB", server, Path(directory) / "large", 1, SIZE_BYTES)
            compare("20 files of 200 KB", server, Path(directory) / "small", SMALL_FILES, SMALL_BYTES)
        finally:
            server.stop()


def compare(title: str, server: Sshd, source: Path, count: int, size_bytes: int) -> None:
    """Both ways in turn, connecting included; prints the medians and their ratio."""
    source.mkdir()
    for number in range(count):
        (source / f"file{number}").write_bytes(os.urandom(size_bytes))
    put_s, scp_s = [], []
    for _ in range(ROUNDS):
        put_s.append(timed(lambda: put(server, source)))
        scp_s.append(timed(lambda: scp(server, source)))
    total_mb = count * size_bytes / 1e6
    print(
        f"{title}: put {total_mb / median(put_s):.0f} MB/s, scp {total_mb / median(scp_s):.0f} MB/s, "
        f"put is {median(scp_s) / median(put_s):.2f} times as fast as scp"
    )


def put(server: Sshd, source: Path) -> None:
    transport = reach(resolve("x86-64", host=server.host))
    pairs = [(path, f"{transport.home}/put/{path.name}") for path in sorted(source.iterdir())]
    transport.put(pairs, lambda count: None)
    transport.close()


def scp(server: Sshd, source: Path) -> None:
    options = ["-q", "-r", "-P", str(server.port), "-i", str(server.identity)]
    options += ["-o", f"UserKnownHostsFile={server.known_hosts}"]
    target = f"{server.user}@{server.address}:{server.board_home}/scp-{source.name}"
    subprocess.run(["scp", *options, str(source), target], check=True)


def timed(action: object) -> float:
    assert callable(action)
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
