"""The command line: parse, call the library, print. Data goes to stdout, talk to stderr; `--json` prints one
document."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from edgesparse import __version__
from edgesparse.errors import EXIT_INTERRUPTED, EdgesparseError, UsageError


class _Group(TyperGroup):
    """Says that a command was interrupted."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            from edgesparse import console

            console.talk.print("Interrupted.", style="bold")
            raise typer.Exit(EXIT_INTERRUPTED) from None


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich's help takes longer to import than everything else together
    help="Prune a model, ship it to an edge board, and prove on the board whether it got faster.",
)
agent_app = typer.Typer(
    cls=_Group, no_args_is_help=True, rich_markup_mode=None, help="The agent on a board: status, logs, stop."
)
app.add_typer(agent_app, name="agent")

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
BoardName = Annotated[
    str, typer.Option("--board", "-b", help="A board of the inventory, a board type (with --host), or local.")
]
Host = Annotated[str | None, typer.Option("--host", help="Where the board is: [user@]address[:port].")]
NewHostKey = Annotated[
    bool, typer.Option("--accept-new-host-key", help="Trust a host seen for the first time and remember its key.")
]
Backends = Annotated[list[str] | None, typer.Option("--backend", help="Compare only this backend; may be repeated.")]
DataSpec = Annotated[str | None, typer.Option("--data", "-d", help="Data: digits, or module:function.")]


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


@app.command()
def prune(
    model: Annotated[str, typer.Argument(help="A trained Keras 2 model: a file or directory, or module:function.")],
    recipe: Annotated[str, typer.Option("--recipe", "-r", help="A named recipe or a recipe file.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory for the pruned model.")],
    data: DataSpec = "digits",
    force: Annotated[bool, typer.Option("--force", help="Prune again even if OUT is up to date.")] = False,
    as_json: AsJson = False,
) -> None:
    """Prune a model by a recipe and fine-tune it."""
    from edgesparse import console, prune
    from edgesparse.recipe import load_recipe
    from edgesparse.report.tables import pruning_table

    wanted = load_recipe(recipe)
    console.say("loading TensorFlow")
    pruned = prune(model, wanted, data or "digits", out=out, force=force, progress=console.say_epoch)
    if as_json:
        console.print_json({"out": str(out), "reused": pruned.reused, "report": pruned.report})
    else:
        console.data.print(pruning_table(pruned))


@app.command()
def convert(
    models: Annotated[
        list[str], typer.Argument(help="Pruned model directories, and the dense model where there is one.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory for the bundle.")],
    data: DataSpec = None,
    name: Annotated[str | None, typer.Option("--name", help="The bundle's name.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Convert again even if OUT is up to date.")] = False,
    as_json: AsJson = False,
) -> None:
    """Convert models to dense and sparse TFLite files, hold them against each other, and bundle them."""
    from edgesparse import console, convert
    from edgesparse.report.tables import bundle_table

    bundle = convert(models, out, data=data, name=name, force=force, progress=console.say)
    if as_json:
        console.print_json({"out": str(out), "id": bundle.id, "reused": bundle.reused, "manifest": bundle.manifest})
    else:
        console.data.print(bundle_table(bundle))


@app.command()
def explain(
    model: Annotated[str, typer.Argument(help="A .tflite file, or a Keras model that is converted first.")],
    board: BoardName = "local",
    as_json: AsJson = False,
) -> None:
    """Say for every operator and backend whether it will run sparse on a board, why, and what would cure it."""
    from edgesparse import console, explain
    from edgesparse.boards.inventory import type_of
    from edgesparse.report.explain_table import render

    explanation = explain(model, type_of(board))
    if as_json:
        console.print_json(explanation)
    else:
        console.data.print(render(explanation))


@app.command()
def boards(as_json: AsJson = False) -> None:
    """List the boards of the inventory and the board types."""
    from edgesparse import console
    from edgesparse.boards.inventory import inventory_path, list_boards
    from edgesparse.boards.types import list_types
    from edgesparse.report.tables import boards_table

    known, types = list_boards(), list_types()
    if as_json:
        console.print_json({"inventory": str(inventory_path()), "boards": known, "types": types})
    else:
        console.data.print(boards_table(known, types, inventory_path()))


@app.command()
def deploy(
    bundle: Annotated[Path, typer.Argument(help="The bundle's directory.")],
    board: BoardName = "local",
    host: Host = None,
    backends: Backends = None,
    accept_new_host_key: NewHostKey = False,
    as_json: AsJson = False,
) -> None:
    """Push a bundle to a board, start the agent there, check parity on the board."""
    from edgesparse import console, deploy
    from edgesparse.boards.inventory import resolve
    from edgesparse.convert.bundle import read_bundle
    from edgesparse.deploy import deployed_bytes
    from edgesparse.report.tables import deployment_dict, deployment_table

    what, where = read_bundle(bundle), resolve(board, host=host)
    with console.PushView(deployed_bytes(what)) as view:
        deployment = deploy(
            what, where, backends=backends, progress=console.say, on_bytes=view, reach=_reach(accept_new_host_key)
        )
    if as_json:
        console.print_json(deployment_dict(deployment))
    else:
        console.data.print(deployment_table(deployment))
    deployment.require_parity()


@app.command()
def bench(
    bundle: Annotated[Path | None, typer.Argument(help="The bundle's directory (not with --attach).")] = None,
    board: BoardName = "local",
    host: Host = None,
    backends: Backends = None,
    variants: Annotated[
        list[str] | None, typer.Option("--variant", help="Compare only this variant with dense; may be repeated.")
    ] = None,
    threads: Annotated[list[int] | None, typer.Option("--threads", help="Threads; may be repeated.", min=1)] = None,
    rounds: Annotated[int, typer.Option("--rounds", help="The most launches of every cell.", min=1)] = 10,
    time_limit: Annotated[
        float, typer.Option("--time-limit", help="Seconds after which the run stops.", min=1)
    ] = 300.0,
    samples: Annotated[int, typer.Option("--samples", help="Timed inferences in a launch.", min=5)] = 70,
    attach: Annotated[
        str | None, typer.Option("--attach", help="Go on collecting this run; 'last' for the latest.")
    ] = None,
    accept_new_host_key: NewHostKey = False,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the comparison as CSV.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the comparison as a Markdown table.")] = False,
) -> None:
    """Measure dense against sparse on a board, under every backend, and compare."""
    from edgesparse import bench, console
    from edgesparse.bench import attach as attach_to
    from edgesparse.boards.inventory import resolve

    reach = _reach(accept_new_host_key)
    with console.RunView(f"measuring on {board}") as view:
        if attach is not None:
            run = attach_to(None if attach == "last" else attach, progress=console.say, on_message=view, reach=reach)
        elif bundle is None:
            raise UsageError("Expected a bundle's directory, found none.", hint="edgesparse bench BUNDLE --board BOARD")
        else:
            view.most_rounds = rounds
            run = bench(
                bundle, resolve(board, host=host), backends=backends, variants=variants, threads=threads,
                rounds=(6, rounds), time_limit_s=time_limit, samples=samples, progress=console.say, on_message=view,
                reach=reach,
            )  # fmt: skip
    _print_run(run, as_json, as_csv, as_markdown)


@app.command()
def report(
    run: Annotated[
        str | None, typer.Argument(help="A run's id or directory; the last one where none is given.")
    ] = None,
    last: Annotated[bool, typer.Option("--last", help="The last run.")] = False,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the comparison as CSV.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the comparison as a Markdown table.")] = False,
) -> None:
    """Show the comparison of a run."""
    from edgesparse.store import Run, RunRecord

    if run and last:
        raise UsageError("Expected a run or --last, found both.", hint="Leave one of them out.")
    _print_run(Run(RunRecord.load(run) if run else RunRecord.last()), as_json, as_csv, as_markdown)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory for models and bundle.")] = Path("build/demo"),
    board: BoardName = "local",
    host: Host = None,
    bundle_only: Annotated[bool, typer.Option("--bundle-only", help="Stop when the bundle is made.")] = False,
) -> None:
    """The whole path on a small CNN and real digits: train, prune three ways, convert, deploy, measure, compare."""
    from edgesparse.demo import run_demo

    run_demo(out, board=board, host=host, bundle_only=bundle_only)


@agent_app.command("status")
def agent_status(board: BoardName = "local", host: Host = None, as_json: AsJson = False) -> None:
    """Who is measured on the board, who waits, and what ended lately."""
    from edgesparse import console
    from edgesparse.report.tables import agent_table

    status = _ask_agent(board, host, {"type": "status"})
    console.print_json(status) if as_json else console.data.print(agent_table(status))


@agent_app.command("logs")
def agent_logs(
    board: BoardName = "local",
    host: Host = None,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many of the last lines.", min=0)] = 50,
) -> None:
    """The last lines of the agent's log."""
    for line in _ask_agent(board, host, {"type": "logs", "lines": lines})["lines"]:
        print(line)


@agent_app.command("stop")
def agent_stop(
    board: BoardName = "local",
    host: Host = None,
    force: Annotated[bool, typer.Option("--force", help="Even while it measures; that run is cancelled.")] = False,
) -> None:
    """End the agent on the board."""
    from edgesparse import console

    _ask_agent(board, host, {"type": "stop", "force": force})
    console.say(f"the agent on {board} ends")


def _ask_agent(board: str, host: str | None, message: dict[str, Any]) -> dict[str, Any]:
    from edgesparse.boards.inventory import resolve
    from edgesparse.boards.session import BoardSession

    with BoardSession(resolve(board, host=host), _reach(accept_new_host_key=False)) as session:
        session.push_agent()
        with session.link() as link:
            return link.ask(message)


def _reach(accept_new_host_key: bool) -> Callable[..., Any]:
    """How to open a transport: on a terminal an unknown host key is asked about, elsewhere it needs the flag."""
    from functools import partial

    from edgesparse.boards import reach

    def confirm(question: str) -> bool:
        return typer.confirm(question, err=True)

    return partial(reach, accept_new_host_key=accept_new_host_key, confirm=confirm if sys.stdin.isatty() else None)


def _print_run(run: Any, as_json: bool, as_csv: bool, as_markdown: bool) -> None:
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


if __name__ == "__main__":
    main()
