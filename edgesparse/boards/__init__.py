"""Boards: what kinds there are, where they stand, how they are reached, and what has to be on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgesparse.boards.inventory import Board
    from edgesparse.boards.transport import Transport


def reach(
    board: Board, *, accept_new_host_key: bool = False, confirm: Callable[[str], bool] | None = None
) -> Transport:
    """Open the board's transport.

    Args:
        board: from `inventory.resolve`.
        accept_new_host_key: trust a host that is seen for the first time and remember its key.
        confirm: asked about the key of such a host otherwise; without it the host is refused.

    Raises:
        BoardError: the board cannot be reached or refuses.
    """
    if board.transport == "local":
        from edgesparse.boards.local import LocalTransport

        return LocalTransport(board)
    if board.host is None:
        from edgesparse.boards.inventory import resolve
        from edgesparse.errors import BoardError

        resolve(board.name)  # says that it does not run
        raise BoardError(f"{board.name} did not run when it was chosen.", hint="It does now: try again.")
    from edgesparse.boards.ssh import SshTransport

    return SshTransport(board, accept_new_host_key=accept_new_host_key, confirm=confirm)
