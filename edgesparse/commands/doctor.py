"""`edgesparse doctor`."""

from __future__ import annotations

from edgesparse.commands.options import AsJson, BoardName, Host, NewHostKey, reach


def doctor(
    board: BoardName = "local", host: Host = None, accept_new_host_key: NewHostKey = False, as_json: AsJson = False
) -> None:
    """Say what on a board would spoil a measurement, and the command that mends it."""
    from rich.text import Text

    from edgesparse import console
    from edgesparse.boards.inventory import resolve
    from edgesparse.boards.session import BoardSession
    from edgesparse.report.tables import new_table

    where = resolve(board, host=host)
    with BoardSession(where, reach(accept_new_host_key), console.say) as session:
        findings = session.examine()
    if as_json:
        console.print_json({"board": where.name, "findings": findings})
        return
    table = new_table(where.name, "", "what", "found", "why it matters", "what mends it")
    marks = {True: Text("ok", style="green"), False: Text("!", style="bold yellow"), None: Text("?", style="dim")}
    for each in findings:
        table.add_row(marks[each["fine"]], each["what"], each["found"], each["why"], each["cure"])
    console.data.print(table)
