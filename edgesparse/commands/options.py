"""What several commands share: options, the group that says when it was interrupted, how a run is printed."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from edgesparse.errors import EXIT_INTERRUPTED, UsageError


class Group(TyperGroup):
    """Says that a command was interrupted."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            from edgesparse import console

            console.talk.print("Interrupted.", style="bold")
            raise typer.Exit(EXIT_INTERRUPTED) from None


def make_group(help_text: str) -> typer.Typer:
    """A Typer for a group of commands. Without rich's help, which takes longer to import than everything else."""
    return typer.Typer(
        cls=Group,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        help=help_text,
    )


AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
BoardName = Annotated[
    str, typer.Option("--board", "-b", help="A board of the inventory, a board type (with --host), or local.")
]
Host = Annotated[str | None, typer.Option("--host", help="Where the board is: [user@]address[:port].")]
NewHostKey = Annotated[
    bool, typer.Option("--accept-new-host-key", help="Trust a host seen for the first time and remember its key.")
]
Backends = Annotated[list[str] | None, typer.Option("--backend", help="Compare only this backend; may be repeated.")]
BoardNames = Annotated[
    str | None,
    typer.Option("--boards", help="Several at once: names, type:TYPE and tag:TAG, with commas between."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Wait = Annotated[
    bool, typer.Option("--wait/--no-wait", help="Wait for the runs before this one, or be refused (exit code 4).")
]
DataSpec = Annotated[
    str | None, typer.Option("--data", "-d", help="Data: digits, cifar10, npz:FILE, or module:function.")
]


def seconds(duration: str) -> float:
    """The seconds of a duration such as 90s, 10m or 1.5h.

    Raises:
        UsageError: it is none, or nothing.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|)", duration.strip())
    found = float(match[1]) * {"s": 1, "": 1, "m": 60, "min": 60, "h": 3600}[match[2]] if match else 0.0
    if not 5 <= found <= 7 * 86_400:
        raise UsageError(
            f"Expected a duration from 5s to a week, found {duration!r}.", hint="Such as 90s, 10m or 1.5h."
        )
    return found


def require_yes(question: str, yes: bool) -> None:
    """Ask before something is lost; where nobody can be asked, --yes is the answer.

    Raises:
        UsageError: nobody can be asked. typer.Abort: the answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{question} Expected --yes, found no terminal to ask at.", hint="Say so with --yes.")
    typer.confirm(question, err=True, abort=True)


def reach(accept_new_host_key: bool) -> Callable[..., Any]:
    """How to open a transport: on a terminal an unknown host key is asked about, elsewhere it needs the flag."""
    from functools import partial

    from edgesparse.boards import reach as reach_board

    def confirm(question: str) -> bool:
        return typer.confirm(question, err=True)

    return partial(
        reach_board, accept_new_host_key=accept_new_host_key, confirm=confirm if sys.stdin.isatty() else None
    )


def print_run(run: Any, as_json: bool, as_csv: bool, as_markdown: bool) -> None:
    """Print the comparison of a run in the one form that was asked for."""
    from edgesparse import console
    from edgesparse.report.export import to_csv, to_json, to_markdown
    from edgesparse.report.terminal import render

    if as_json + as_csv + as_markdown > 1:
        raise UsageError("Expected one of --json, --csv and --markdown, found several.", hint="Leave all but one out.")
    comparison = run.comparison()
    if as_json:
        console.print_json(to_json(comparison))
    elif as_csv or as_markdown:
        sys.stdout.write((to_csv if as_csv else to_markdown)(comparison))
    else:
        console.data.print(render(comparison))
