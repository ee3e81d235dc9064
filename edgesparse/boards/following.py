"""A run on a board, followed to its end over as many links as it takes."""

from __future__ import annotations

from collections.abc import Callable

from edgesparse import wire
from edgesparse.boards.session import BoardSession
from edgesparse.boards.transport import LinkLost
from edgesparse.errors import BoardError

OnMessage = Callable[[wire.Message], None]


class Following:
    """One run on one board; every record reaches `on_message` once, in order.

    Args:
        session: the board.
        run: the run's id.
        have: the number of the last record that is here already.
        on_message: given each `record`, and each change of `place` in line.
        wait: False to be refused where the board is not free at once.
        only_looking: interrupting leaves the run alone, and no agent is started where one has gone.
    """

    def __init__(
        self,
        session: BoardSession,
        run: str,
        have: int,
        on_message: OnMessage,
        *,
        wait: bool = True,
        only_looking: bool = False,
    ) -> None:
        self.session, self.run, self.have, self.on_message, self.wait = session, run, have, on_message, wait
        self._only_looking = only_looking

    def carry_out(self, spec: wire.RunSpec | None = None) -> wire.Message:
        """Submit the spec where one is given, then collect to the end. Interrupting frees the board of the run, unless
        this is only looking.

        Returns:
            The agent's `end` message: status and reason.

        Raises:
            BoardError: the board refuses, or stays out of reach.
        """
        try:
            return self._to_end(spec)
        except KeyboardInterrupt:
            if not self._only_looking:
                self._cancel()
            raise

    def _to_end(self, spec: wire.RunSpec | None) -> wire.Message:
        while True:
            try:
                with self.session.link() as link:
                    if spec is not None:
                        link.submit(spec, wait=self.wait)
                        spec = None
                    for message in link.follow(self.run, self.have):
                        if message["type"] == "end":
                            return message
                        self._take(message)
            except LinkLost:
                self.session.reconnect(start=not self._only_looking)

    def _take(self, message: wire.Message) -> None:
        self.on_message(message)
        if message["type"] == "record":
            self.have = message["record"]["seq"]

    def _cancel(self) -> None:
        """Take the run off the board, over a new link because the old one may hold half a line, and get its last
        records."""
        self.session.progress(f"interrupted: freeing {self.session.board.name}")
        try:
            with self.session.link() as link:
                link.cancel(self.run)
                for message in link.follow(self.run, self.have):
                    if message["type"] == "record":
                        self._take(message)
        except BoardError as error:
            self.session.progress(f"{self.session.board.name} could not be told ({error}); the run goes on there")
