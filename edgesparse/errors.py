"""The one exception tree, and the exit code of each branch.

Every expected failure is an :class:`EdgesparseError`: one sentence that says what was expected and what was found, and
`hint`, what to do next. The command line prints both without a traceback and exits with the class's `exit_code`.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_UNEXPECTED = 1
EXIT_USAGE = 2
EXIT_INPUT_REFUSED = 3
EXIT_BOARD = 4
EXIT_PARITY = 5
EXIT_MEASUREMENT = 6
EXIT_SLOWER = 7
EXIT_INTERRUPTED = 130


class EdgesparseError(Exception):
    """An expected failure.

    Args:
        message: one sentence: what was expected and what was found.
        hint: what to do next, with the command to run where there is one.
    """

    exit_code = EXIT_UNEXPECTED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class UsageError(EdgesparseError):
    """A name or value on the command line that does not exist: a board, a variant, a `module:function`."""

    exit_code = EXIT_USAGE


class InputRefused(EdgesparseError):
    """A model, recipe or bundle that cannot be used."""

    exit_code = EXIT_INPUT_REFUSED


class RecipeError(InputRefused):
    """A recipe with an unknown key, an impossible pattern or a value out of range."""


class ModelError(InputRefused):
    """A model file that is missing, is no model, or is of a kind that is not handled."""


class BundleError(InputRefused):
    """A bundle that is missing, incomplete or does not match its manifest."""


class BoardError(EdgesparseError):
    """A board that cannot be reached or refuses: host down, host key, authentication, no Python, disk full, busy."""

    exit_code = EXIT_BOARD


class ParityError(EdgesparseError):
    """Outputs outside the tolerance of the golden ones."""

    exit_code = EXIT_PARITY


class MeasurementError(EdgesparseError):
    """A run that gave no valid measurement: no cell could be timed, or it was cancelled before it had samples."""

    exit_code = EXIT_MEASUREMENT


class SlowerThanAllowed(EdgesparseError):
    """A valid measurement that found what `--fail-if-slower` forbids: a cell that is slower, fails or is missing."""

    exit_code = EXIT_SLOWER
