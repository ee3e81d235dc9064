"""What has to be on the board, getting it there, and proof that it works there: every variant's outputs are the
golden ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgesparse import wire
from edgesparse.bench import bundle_files, deliver, describe, plan, silent
from edgesparse.boards import reach
from edgesparse.boards.following import Following
from edgesparse.boards.inventory import Board, resolve
from edgesparse.boards.session import BoardSession, Progress, Pushed
from edgesparse.boards.transport import Transport
from edgesparse.convert.bundle import Bundle, read_bundle
from edgesparse.errors import MeasurementError, ParityError
from edgesparse.kernels import find_library


@dataclass(frozen=True)
class Deployment:
    """What is on the board now, and what of it may be measured.

    Args:
        board: name, type, transport, host.
        bundle: the bundle's id.
        home: the board's store.
        runtime: name, version and Python there.
        pushed: files that were there, files and bytes that moved.
        checks: the agent's `check` record of every cell: status, reason, parity, path.
    """

    board: dict[str, Any]
    bundle: str
    home: str
    runtime: dict[str, str]
    pushed: Pushed
    checks: list[wire.Message]

    def require_parity(self) -> None:
        """Raise for the first cell whose outputs are not the golden ones, or when no cell is ready at all.

        Raises:
            ParityError, MeasurementError.
        """
        failed = [check for check in self.checks if check["status"] != "ok"]
        for check in failed:
            if check["kind"] == "parity":
                raise ParityError(
                    f"{check['cell']} does not give the golden outputs on {self.board['name']}: {check['reason']}.",
                    hint="It is not timed there. Convert again, or leave the variant out.",
                )
        if len(failed) == len(self.checks):
            raise MeasurementError(
                f"Nothing in the bundle runs on {self.board['name']}: {failed[0]['cell']}: {failed[0]['reason']}.",
                hint=f"What the agent saw: edgesparse agent logs --board {self.board['name']}",
            )


def deploy(
    bundle: Bundle | str | Path,
    board: Board | str = "local",
    *,
    backends: Sequence[str] | None = None,
    wait: bool = True,
    progress: Progress = silent,
    on_bytes: Callable[[int], None] = lambda count: None,
    reach: Callable[[Board], Transport] = reach,
) -> Deployment:
    """Push a bundle to a board, start the agent there and check every variant under every backend.

    What the board has already is not moved, and a check that passed there before with the same files, agent and runtime
    is not made again.

    Args:
        bundle: a bundle or its directory.
        board: a board, or its name in the inventory.
        backends: those to check; all that the board type knows where None.
        wait: for the runs that are measured there; False to be refused where the board is not free at once.
        progress: told each step.
        on_bytes: told how many bytes more have moved.
        reach: opens a transport to a board.

    Raises:
        BundleError, UsageError, BoardError. Failed checks are in the result; see `Deployment.require_parity`.
    """
    bundle = bundle if isinstance(bundle, Bundle) else read_bundle(Path(bundle))
    board = board if isinstance(board, Board) else resolve(board)
    checks: list[wire.Message] = []

    def keep(message: wire.Message) -> None:
        if message["type"] == "record" and message["record"]["type"] == "check":
            checks.append(message["record"])
            progress(f"{board.name}: checked {message['record']['cell']}: {message['record']['status']}")

    with BoardSession(board, reach, progress) as session:
        pushed = deliver(session, bundle, on_bytes)
        spec = plan(bundle, session, backends=backends, rounds=(0, 0))
        end = Following(session, spec.run, 0, keep, wait=wait).carry_out(spec)
        if not checks:
            raise MeasurementError(
                f"Nothing was checked on {board.name}: {end.get('reason')}.",
                hint=f"What the agent saw: edgesparse agent logs --board {board.name}",
            )
        runtime = {"name": session.runtime.name, "version": session.runtime.version, "python": session.runtime.python}
        return Deployment(describe(board), bundle.id, session.home, runtime, pushed, checks)


def deployed_bytes(bundle: Bundle, arch: str) -> int:
    """How many bytes a board of an architecture has to be sent, the first time: the bundle's files and the kernels."""
    library = find_library(arch)
    kernels_bytes = library.stat().st_size if library else 0
    return kernels_bytes + sum({sha256: path.stat().st_size for path, sha256 in bundle_files(bundle)}.values())
