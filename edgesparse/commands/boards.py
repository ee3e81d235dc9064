"""`edgesparse boards`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgesparse.commands.options import AsJson, Group, Host, NewHostKey, Yes, reach, require_yes
from edgesparse.errors import UsageError

if TYPE_CHECKING:
    from edgesparse.boards.facts import BoardFacts
    from edgesparse.boards.fitting import Fit
    from edgesparse.boards.inventory import Board

app = typer.Typer(
    cls=Group,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="The boards that you have: list them; add, look at, set up and remove one.",
)
Name = Annotated[str, typer.Argument(help="A board of the inventory, or a board type (with --host).")]


@app.callback()
def boards(context: typer.Context, as_json: AsJson = False) -> None:
    """List the boards of the inventory and the board types."""
    if context.invoked_subcommand is None:
        _list(as_json)
    elif as_json:
        raise UsageError(
            "Expected --json behind the command.", hint=f"edgesparse boards {context.invoked_subcommand} --json"
        )


@app.command("list")
def boards_list(as_json: AsJson = False) -> None:
    """List the boards of the inventory and the board types."""
    _list(as_json)


@app.command("add")
def boards_add(
    name: Annotated[str, typer.Argument(help="What you call it.")],
    host: Annotated[
        str, typer.Option("--host", help="Where it is: [user@]address[:port], or a Host of ~/.ssh/config.")
    ],
    type_: Annotated[
        str | None, typer.Option("--type", "-t", help="Its board type; asked of the board itself where left out.")
    ] = None,
    identity_file: Annotated[str | None, typer.Option("--identity-file", help="The key that logs in there.")] = None,
    python: Annotated[str | None, typer.Option("--python", help="The Python to use there.")] = None,
    home: Annotated[str | None, typer.Option("--home", help="The directory of its store.")] = None,
    threads: Annotated[
        list[int] | None, typer.Option("--threads", help="A thread count to measure; may be repeated.", min=1)
    ] = None,
    tags: Annotated[
        list[str] | None, typer.Option("--tag", help="A word by which several are named at once; may be repeated.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the board of this name.")] = False,
    accept_new_host_key: NewHostKey = False,
) -> None:
    """Add a board to the inventory."""
    from edgesparse import console
    from edgesparse.boards.editing import add_board
    from edgesparse.boards.inventory import Board, check_name, parse_address
    from edgesparse.boards.types import LOCAL_TYPE, load_type

    check_name(name)
    address, user, port = parse_address(host)
    fields: dict[str, Any] = {"type": type_, "host": address, "user": user, "port": port, "python": python,
                              "identity_file": identity_file, "home": home, "threads": threads or None,
                              "tags": tags or None}  # fmt: skip
    if type_ is None:
        where = Board(
            name=name, type=load_type(LOCAL_TYPE), transport="ssh", host=address, user=user, port=port,
            identity_file=identity_file, home=home,
        )  # fmt: skip
        fit = _look(where, accept_new_host_key)[1]
        if fit.type is None:
            raise UsageError(f"No board type fits {name}: {fit.reason}.", hint="Say which comes nearest: --type TYPE.")
        console.say(f"{name} is a {fit.type}: {fit.reason}")
        fields["type"] = fit.type
    path = add_board(name, fields, force=force)
    console.say(f"{name} is in {path}; next: edgesparse boards setup {name}, or deploy to it at once")


@app.command("remove")
def boards_remove(
    name: Annotated[str, typer.Argument(help="A board of the inventory.")],
    purge: Annotated[
        bool, typer.Option("--purge", help="First remove all that edgesparse keeps on the board itself.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Take a board out of the inventory."""
    from edgesparse import console
    from edgesparse.boards.editing import remove_board
    from edgesparse.boards.inventory import resolve
    from edgesparse.boards.session import BoardSession

    if purge:
        with BoardSession(resolve(name), reach(accept_new_host_key=False), console.say) as session:
            require_yes(f"Remove all that edgesparse keeps on {name}, in {session.home}?", yes)
            for path in session.control("uninstall", "--purge")["removed"]:
                console.say(f"removed {path}")
    console.say(f"{name} is no longer in {remove_board(name)}")


@app.command("probe")
def boards_probe(
    name: Name = "local",
    host: Host = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Print what the board says, as it says it: for a bug report.")
    ] = False,
    accept_new_host_key: NewHostKey = False,
    as_json: AsJson = False,
) -> None:
    """Ask a board what it is and has, and which board type fits."""
    from edgesparse import console
    from edgesparse.boards.facts import ask
    from edgesparse.boards.inventory import resolve
    from edgesparse.boards.session import BoardSession
    from edgesparse.report.board_facts import facts_table

    if raw:
        with BoardSession(resolve(name, host=host), reach(accept_new_host_key), console.say) as session:
            print(ask(session.transport, session.board), end="")
        return
    facts, fit = _look(resolve(name, host=host), accept_new_host_key)
    if as_json:
        console.print_json({"version": 1, "board": name, "facts": facts, "fits": fit})
    else:
        console.data.print(facts_table(name, facts, fit))


@app.command("setup")
def boards_setup(
    name: Name = "local",
    host: Host = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; change nothing there.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the runtimes in the board's store instead.")] = False,
    remove: Annotated[str | None, typer.Option("--remove", help="Remove this one of them instead.")] = None,
    accept_new_host_key: NewHostKey = False,
    as_json: AsJson = False,
) -> None:
    """Make a board ready: a Python with a TFLite runtime, from its own network or pushed from here."""
    from edgesparse import console
    from edgesparse.boards.inventory import resolve
    from edgesparse.boards.provision import plan_runtime
    from edgesparse.boards.runtimes import list_runtimes, remove_runtime
    from edgesparse.boards.session import BoardSession
    from edgesparse.report.board_facts import plan_dict, plan_lines, runtimes_table

    with BoardSession(resolve(name, host=host), reach(accept_new_host_key), console.say) as session:
        if remove is not None:
            path = remove_runtime(session.transport, name, remove)
            console.print_json({"version": 1, "board": name, "removed": path}) if as_json else console.say(
                f"removed {path}"
            )
            return
        if list_:
            found = list_runtimes(session.transport)
            console.print_json(found) if as_json else console.data.print(runtimes_table(name, found))
            return
        plan = plan_runtime(session.transport, session.board, session.facts, session.python, console.say)
        if not dry_run:
            runtime = session.set_up(plan)
            session.start_agent()
            console.say(f"{name} is ready: {runtime.name} {runtime.version} under {runtime.python}, the agent runs")
    if as_json:
        console.print_json({"version": 1, "board": name, "dry_run": dry_run, **plan_dict(plan)})
    elif dry_run:
        for line in plan_lines(name, plan):
            print(line)


def _list(as_json: bool) -> None:
    from edgesparse import console
    from edgesparse.boards.inventory import inventory_path, list_boards
    from edgesparse.boards.types import list_types
    from edgesparse.report.tables import boards_table

    known, types = list_boards(), list_types()
    if as_json:
        console.print_json({"inventory": str(inventory_path()), "boards": known, "types": types})
    else:
        console.data.print(boards_table(known, types, inventory_path()))


def _look(board: Board, accept_new_host_key: bool) -> tuple[BoardFacts, Fit]:
    from edgesparse import console
    from edgesparse.boards.fitting import fitting_type
    from edgesparse.boards.session import BoardSession
    from edgesparse.boards.types import list_types

    with BoardSession(board, reach(accept_new_host_key), console.say) as session:
        facts = session.facts
    return facts, fitting_type(facts, list_types())


@app.command("sensors")
def boards_sensors(
    name: Name = "local",
    host: Host = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on, once a second, until Ctrl-C.")] = False,
    accept_new_host_key: NewHostKey = False,
    as_json: AsJson = False,
) -> None:
    """List a board's power sensors: scope, real rate, resolution, and what they read now."""
    from rich.live import Live

    from edgesparse import console
    from edgesparse.boards.inventory import resolve
    from edgesparse.boards.session import BoardSession
    from edgesparse.report.sensors import render

    board = resolve(name, host=host)
    with BoardSession(board, reach(accept_new_host_key), console.say) as session:
        looks = session.look_at_sensors(watch=watch)
        if as_json:
            for look in looks:
                console.print_json(look)
        elif watch and console.data.is_terminal:
            with Live(console=console.data, auto_refresh=False) as live:
                for look in looks:
                    live.update(render(board.name, look), refresh=True)
        else:
            for look in looks:
                console.data.print(render(board.name, look))
