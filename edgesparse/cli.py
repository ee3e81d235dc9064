"""The command line: every command, in the order that `edgesparse --help` shows. Data goes to stdout, talk to stderr;
`--json` prints one document."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from edgesparse import __version__
from edgesparse.commands import (
    agent,
    boards,
    doctor,
    kernels,
    lab,
    lottery,
    measuring,
    models,
    networks,
    prepare,
    reporting,
    runs,
    sensitivity,
    virt,
    watching,
)
from edgesparse.commands.options import make_group
from edgesparse.errors import EdgesparseError

app = make_group("Prune a model, ship it to an edge board, and prove on the board whether it got faster.")
for command in (
    prepare.prepare,
    models.prune,
    models.convert,
    models.sparsify,
    models.check,
    models.explain,
    sensitivity.sensitivity,
    lottery.lottery,
    measuring.deploy,
    measuring.bench,
    watching.watch,
    reporting.report,
    measuring.demo,
    lab.lab,
    doctor.doctor,
):
    app.command()(command)
app.add_typer(runs.app, name="runs")
app.add_typer(boards.app, name="boards")
app.add_typer(agent.app, name="agent")
app.add_typer(kernels.app, name="kernels")
app.add_typer(networks.app, name="networks")
app.add_typer(virt.app, name="virt")


def main() -> None:
    """The entry point: an expected failure is a sentence and an exit code, never a traceback."""
    try:
        app()
    except EdgesparseError as error:
        from edgesparse import console

        console.complain(error)
        sys.exit(error.exit_code)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


if __name__ == "__main__":
    main()
