"""Commands that measure: deploy, bench, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgesparse.commands.options import (
    AsJson,
    Backends,
    BoardName,
    BoardNames,
    Host,
    NewHostKey,
    Wait,
    print_run,
    reach,
    seconds,
)
from edgesparse.errors import UsageError


def deploy(
    bundle: Annotated[Path, typer.Argument(help="The bundle's directory.")],
    board: BoardName = "local",
    boards: BoardNames = None,
    host: Host = None,
    backends: Backends = None,
    wait: Wait = True,
    accept_new_host_key: NewHostKey = False,
    as_json: AsJson = False,
) -> None:
    """Push a bundle to a board, start the agent there, check parity on the board."""
    from edgesparse import console, deploy
    from edgesparse.boards.inventory import resolve
    from edgesparse.convert.bundle import read_bundle
    from edgesparse.deploy import deployed_bytes
    from edgesparse.report.tables import deployment_dict, deployment_table

    if boards is not None:
        from edgesparse.commands.fleet import deploy_all

        deploy_all(bundle, boards, backends, wait, accept_new_host_key, as_json)
        return
    what, where = read_bundle(bundle), resolve(board, host=host)
    with console.PushView(deployed_bytes(what, where.type.arch)) as view:
        deployment = deploy(
            what, where, backends=backends, wait=wait, progress=console.say, on_bytes=view,
            reach=reach(accept_new_host_key),
        )  # fmt: skip
    if as_json:
        console.print_json(deployment_dict(deployment))
    else:
        console.data.print(deployment_table(deployment))
    deployment.require_parity()


def bench(
    bundle: Annotated[Path | None, typer.Argument(help="The bundle's directory (not with --attach).")] = None,
    board: BoardName = "local",
    boards: BoardNames = None,
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
    aa: Annotated[
        bool, typer.Option("--aa", help="Hold variants against themselves: the board's noise floor, for later runs.")
    ] = False,
    energy: Annotated[
        bool, typer.Option("--energy/--no-energy", help="Read the board's power sensors, if it has any, meanwhile.")
    ] = True,
    cpus: Annotated[
        str, typer.Option("--cpus", help="The cores to run on: big, little, or a list such as 0,2-3; all by default.")
    ] = "",
    tune: Annotated[
        bool, typer.Option("--tune", help="Set the governor performance, put back whatever happens; needs root there.")
    ] = False,
    sustained: Annotated[
        str | None,
        typer.Option("--sustained", help="Launch every cell once for so long, such as 10m: its first minute, its end."),
    ] = None,
    wait: Wait = True,
    linger: Annotated[
        float, typer.Option("--linger", help="Seconds that the board keeps the run when nobody follows it.", min=1)
    ] = 900.0,
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
    from edgesparse.live import RunView
    from edgesparse.quantity import quantity_of
    from edgesparse.store import RunRecord

    how = reach(accept_new_host_key)
    if boards is not None:
        from edgesparse.commands.fleet import bench_all

        if bundle is None or attach is not None or as_csv or as_markdown:
            raise UsageError(
                "Expected a bundle and, of the forms, at most --json with --boards.",
                hint="Attach to one run at a time; each board's run is stored, and `edgesparse report RUN` prints it.",
            )
        bench_all(
            bundle, boards, accept_new_host_key, as_json, backends=backends, variants=variants, threads=threads,
            rounds=rounds, time_limit_s=time_limit, samples=samples, aa=aa, energy=energy, cpus=cpus,
            tune=tune, sustained_s=seconds(sustained) if sustained else 0.0, wait=wait, linger_s=linger,
        )  # fmt: skip
        return
    with RunView(f"measuring on {board}") as view:
        if attach is not None:
            record = RunRecord.last() if attach == "last" else RunRecord.load(attach)
            view.quantity = quantity_of(record.board)
            view.catch_up(record.id, record.spec, record.records())
            run = attach_to(record.id, progress=console.say, on_message=view, reach=how)
        elif bundle is None:
            raise UsageError("Expected a bundle's directory, found none.", hint="edgesparse bench BUNDLE --board BOARD")
        else:
            where = resolve(board, host=host)
            fewest, most = effort(where).rounds
            view.quantity, view.most_rounds = quantity_of(describe(where)), rounds or most
            run = bench(
                bundle, where, backends=backends, variants=variants, threads=threads,
                rounds=(fewest, view.most_rounds), time_limit_s=time_limit, samples=samples, aa=aa, energy=energy,
                cpus=cpus, tune=tune, sustained_s=seconds(sustained) if sustained else 0.0,
                wait=wait, linger_s=linger, progress=console.say, on_message=view, reach=how,
            )  # fmt: skip
    print_run(run, as_json, as_csv, as_markdown)
    if run.record.aa:
        from edgesparse.report.export import require_no_difference

        require_no_difference(run.comparison())


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory for models and bundle.")] = Path("build/demo"),
    board: BoardName = "local",
    host: Host = None,
    bundle_only: Annotated[bool, typer.Option("--bundle-only", help="Stop when the bundle is made.")] = False,
) -> None:
    """The whole path on a small CNN and real digits: train, prune four ways, convert, deploy, measure, compare."""
    from edgesparse.demo import run_demo

    run_demo(out, board=board, host=host, bundle_only=bundle_only)
