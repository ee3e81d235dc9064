"""`edgesparse virt`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from edgesparse.commands.options import AsJson, make_group

app = make_group("Emulated ARM boards on this machine: start, stop, status, ssh.")

# The same as `edgesparse.boards.virt.TYPE`, which costs more to import than `edgesparse --help` may take.
TYPE = "virt-aarch64"
Type = Annotated[str, typer.Option("--type", help="Which emulated board: virt-aarch64 or virt-armv7 (32-bit).")]


@app.command("start")
def virt_start(
    type_: Type = TYPE,
    keep: Annotated[bool, typer.Option("--keep", help="Go on with the disk as it was left, not a clean one.")] = False,
    counting: Annotated[
        bool, typer.Option("--count-instructions", help="One CPU, whose clock counts instructions instead of time.")
    ] = False,
    cpu: Annotated[
        str | None,
        typer.Option(help="cortex-a76, or without dot products of bytes cortex-a72, cortex-a53; cortex-a15, -a7."),
    ] = None,
    network: Annotated[bool, typer.Option("--network", help="Let the board reach the network.")] = False,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Build the image again even if it is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Boot the emulated board; the first time its image is built, which takes some minutes."""
    from edgesparse import console
    from edgesparse.boards.virt import Machine, ensure_image

    machine, image = Machine(board_type=type_), ensure_image(console.say, type_, rebuild=rebuild)
    state = machine.start(image, cpu=cpu, counting=counting, keep=keep, network=network, progress=console.say)
    if as_json:
        console.print_json({**asdict(state), "ssh_config": str(machine.ssh_config)})
    else:
        print(machine.usage())


@app.command("stop")
def virt_stop(type_: Type = TYPE) -> None:
    """Power the emulated board off; its disk stays, for `start --keep`."""
    from edgesparse import console
    from edgesparse.boards.virt import Machine

    ran = Machine(board_type=type_).stop()
    console.say(f"the emulated board {type_} {'is off' if ran else 'was not running'}")


@app.command("status")
def virt_status(type_: Type = TYPE, as_json: AsJson = False) -> None:
    """Whether the emulated board runs, how it was booted, and how to log in."""
    from edgesparse.boards.virt import Machine, find_image

    machine, image = Machine(board_type=type_), find_image(type_)
    state = machine.running()
    if as_json:
        from edgesparse import console

        running = {**asdict(state), "ssh_config": str(machine.ssh_config)} if state else None
        console.print_json({"image": str(image.path) if image else None, "running": running})
    else:
        built = "the image is built" if image else "the image is not built yet"
        print(
            machine.usage()
            if state
            else f"The emulated board {type_} is not running; {built}. Boot it: make board BOARD={type_}"
        )


@app.command("ssh", context_settings={"ignore_unknown_options": True})
def virt_ssh(
    words: Annotated[list[str] | None, typer.Argument(help="A command to run there.")] = None, type_: Type = TYPE
) -> None:
    """Log in to the emulated board, or run a command there."""
    import os

    from edgesparse.boards.virt import Machine

    machine = Machine(board_type=type_)
    machine.board()  # or a sentence that it does not run
    os.execvp("ssh", ["ssh", "-F", str(machine.ssh_config), type_, *(words or [])])
