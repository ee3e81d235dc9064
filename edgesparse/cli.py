"""The command line: parse, call the library, print. Data goes to stdout, talk to stderr; `--json` prints one
document."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
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
kernels_app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The sparse kernels, a TFLite delegate: where they lie.",
)
app.add_typer(kernels_app, name="kernels")
networks_app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Benchmark models with random weights and a seed: list, build.",
)
app.add_typer(networks_app, name="networks")
virt_app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="An emulated ARM64 board on this machine: start, stop, status, ssh.",
)
app.add_typer(virt_app, name="virt")

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
    board: Annotated[
        str, typer.Option("--board", "-b", help="Whose block a recipe takes that leaves the pattern to the board.")
    ] = "local",
    force: Annotated[bool, typer.Option("--force", help="Prune again even if OUT is up to date.")] = False,
    as_json: AsJson = False,
) -> None:
    """Prune a model by a recipe and fine-tune it."""
    from edgesparse import console, prune
    from edgesparse.boards.inventory import type_of
    from edgesparse.recipe import load_recipe
    from edgesparse.report.tables import pruning_table

    kind = type_of(board)
    wanted = load_recipe(recipe).for_block(kind.block, kind.block_int8)
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
    backends: Annotated[
        list[str] | None, typer.Option("--backend", help="Explain only this backend; may be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say for every operator and backend whether it will run sparse on a board, why, and what would cure it."""
    from edgesparse import console, explain
    from edgesparse.boards.inventory import type_of
    from edgesparse.report.explain_table import render

    explanation = explain(model, type_of(board), backends=backends or None)
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
    with console.PushView(deployed_bytes(what, where.type.arch)) as view:
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
    rounds: Annotated[
        int | None, typer.Option("--rounds", help="The most launches of every cell; 10, on an emulated board 1.", min=1)
    ] = None,
    time_limit: Annotated[
        float | None, typer.Option("--time-limit", help="Seconds after which the run stops; 300, emulated 7200.", min=1)
    ] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", help="Timed inferences in a launch; 70, on an emulated board 5.", min=5)
    ] = None,
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
    from edgesparse.bench import describe, effort
    from edgesparse.boards.inventory import resolve
    from edgesparse.quantity import quantity_of
    from edgesparse.store import RunRecord

    reach = _reach(accept_new_host_key)
    with console.RunView(f"measuring on {board}") as view:
        if attach is not None:
            record = RunRecord.last() if attach == "last" else RunRecord.load(attach)
            view.quantity = quantity_of(record.board)
            run = attach_to(record.id, progress=console.say, on_message=view, reach=reach)
        elif bundle is None:
            raise UsageError("Expected a bundle's directory, found none.", hint="edgesparse bench BUNDLE --board BOARD")
        else:
            where = resolve(board, host=host)
            fewest, most = effort(where).rounds
            view.quantity, view.most_rounds = quantity_of(describe(where)), rounds or most
            run = bench(
                bundle, where, backends=backends, variants=variants, threads=threads,
                rounds=(fewest, view.most_rounds), time_limit_s=time_limit, samples=samples, progress=console.say,
                on_message=view, reach=reach,
            )  # fmt: skip
    _print_run(run, as_json, as_csv, as_markdown)


@app.command()
def report(
    run: Annotated[
        str | None, typer.Argument(help="A run's id or directory; the last one where none is given.")
    ] = None,
    last: Annotated[bool, typer.Option("--last", help="The last run.")] = False,
    operators: Annotated[
        bool, typer.Option("--operators", help="Also list every operator under csr: its kernel, or why it has none.")
    ] = False,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the comparison as CSV.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the comparison as a Markdown table.")] = False,
) -> None:
    """Show the comparison of a run."""
    from edgesparse.store import Run, RunRecord

    if run and last:
        raise UsageError("Expected a run or --last, found both.", hint="Leave one of them out.")
    found = Run(RunRecord.load(run) if run else RunRecord.last())
    _print_run(found, as_json, as_csv, as_markdown)
    if operators and not (as_json or as_csv or as_markdown):  # JSON holds them always
        from edgesparse import console
        from edgesparse.report.operators import render

        console.data.print(render(found.comparison()))


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory for models and bundle.")] = Path("build/demo"),
    board: BoardName = "local",
    host: Host = None,
    bundle_only: Annotated[bool, typer.Option("--bundle-only", help="Stop when the bundle is made.")] = False,
) -> None:
    """The whole path on a small CNN and real digits: train, prune four ways, convert, deploy, measure, compare."""
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


@kernels_app.command("path")
def kernels_path(
    arch: Annotated[
        str | None, typer.Option("--arch", help="x86_64, aarch64 or armv7l; this machine's where not given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print where the compiled delegate lies, for load_delegate()."""
    from edgesparse.kernels import library_path, this_arch

    path = library_path(arch)
    if as_json:
        from edgesparse import console

        console.print_json({"arch": arch or this_arch(), "path": str(path), "bytes": path.stat().st_size})
    else:
        print(path)


@networks_app.command("list")
def networks_list(as_json: AsJson = False) -> None:
    """The networks that can be built, each also of another size (mobilenetv2-96, mlp-512)."""
    from edgesparse.networks import names

    if as_json:
        from edgesparse import console

        console.print_json({"networks": names()})
    else:
        print("\n".join(names()))


@networks_app.command("build")
def networks_build(
    network: Annotated[str, typer.Argument(help="A network and its size: mobilenetv2-224, mlp-4096, …")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .tflite file to write.")],
    pattern: Annotated[
        str, typer.Option("--pattern", help="dense, unstructured, block RxC (outputs x inputs), N:M.")
    ] = "dense",
    sparsity: Annotated[
        float | None, typer.Option("--sparsity", help="Share of zeros of each pruned layer, such as 0.8.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option("--encoding", help="sparse, or zeros: plain zeros in dense tensors.")
    ] = None,
    weights: Annotated[str, typer.Option("--weights", help="float32, float16 or int8.")] = "float32",
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same weights.", min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """Build a benchmark model with random weights and zeros of an exact density."""
    from edgesparse import console
    from edgesparse.networks import write

    built = write(network, out, pattern, sparsity, encoding, weights=weights, seed=seed, progress=console.say)
    if as_json:
        console.print_json({"out": str(out), "bytes": out.stat().st_size, "model": str(built)})
    else:
        print(out)


@virt_app.command("start")
def virt_start(
    keep: Annotated[bool, typer.Option("--keep", help="Go on with the disk as it was left, not a clean one.")] = False,
    counting: Annotated[
        bool, typer.Option("--count-instructions", help="One CPU, whose clock counts instructions instead of time.")
    ] = False,
    cpu: Annotated[
        str, typer.Option(help="cortex-a76, or without dot products of bytes cortex-a72 or cortex-a53.")
    ] = "cortex-a76",
    network: Annotated[bool, typer.Option("--network", help="Let the board reach the network.")] = False,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Build the image again even if it is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Boot the emulated board; the first time its image is built, which takes some minutes."""
    from edgesparse import console
    from edgesparse.boards.virt import Machine, ensure_image

    machine, image = Machine(), ensure_image(console.say, rebuild=rebuild)
    state = machine.start(image, cpu=cpu, counting=counting, keep=keep, network=network, progress=console.say)
    if as_json:
        console.print_json({**asdict(state), "ssh_config": str(machine.ssh_config)})
    else:
        print(machine.usage())


@virt_app.command("stop")
def virt_stop() -> None:
    """Power the emulated board off; its disk stays, for `start --keep`."""
    from edgesparse import console
    from edgesparse.boards.virt import Machine

    console.say("the emulated board is off" if Machine().stop() else "the emulated board was not running")


@virt_app.command("status")
def virt_status(as_json: AsJson = False) -> None:
    """Whether the emulated board runs, how it was booted, and how to log in."""
    from edgesparse.boards.virt import Machine, find_image

    machine, image = Machine(), find_image()
    state = machine.running()
    if as_json:
        from edgesparse import console

        running = {**asdict(state), "ssh_config": str(machine.ssh_config)} if state else None
        console.print_json({"image": str(image.path) if image else None, "running": running})
    else:
        built = "the image is built" if image else "the image is not built yet"
        print(machine.usage() if state else f"The emulated board is not running; {built}. Boot it: make board")


@virt_app.command("ssh", context_settings={"ignore_unknown_options": True})
def virt_ssh(words: Annotated[list[str] | None, typer.Argument(help="A command to run there.")] = None) -> None:
    """Log in to the emulated board, or run a command there."""
    import os

    from edgesparse.boards.virt import TYPE, Machine

    machine = Machine()
    machine.board()  # or a sentence that it does not run
    os.execvp("ssh", ["ssh", "-F", str(machine.ssh_config), TYPE, *(words or [])])


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
