"""The tables that commands print on the way: pruned layers, bundles, boards, deployments, the agent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgesparse.agent.backends import RUNTIMES
from edgesparse.lottery.results import ARMS, Lottery
from edgesparse.quantity import without_times
from edgesparse.wire import XNNPACK

if TYPE_CHECKING:
    from edgesparse.boards.inventory import Board
    from edgesparse.boards.types import BoardType
    from edgesparse.check import Checked
    from edgesparse.convert.bundle import Bundle, Variant
    from edgesparse.deploy import Deployment
    from edgesparse.prune import Pruned
    from edgesparse.prune.preparing import Preparation


def new_table(title: str, *columns: str, right: Sequence[str] = ()) -> Table:
    """A quiet table: a heading, a rule, rows."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def percent(share: float | None, digits: int = 1) -> str:
    """A share as percent; a dash for none."""
    return "-" if share is None else f"{share:.{digits}%}".replace("%", " %")


def kilobytes(size: int) -> str:
    """A size in kB or MB."""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


def pruning_table(pruned: Pruned) -> RenderableType:
    """Every weighted layer: what became of it, and why."""
    report = pruned.report
    table = new_table(
        f"{report.recipe}: accuracy {percent(report.accuracy_before)} -> {percent(report.accuracy_pruned)} pruned "
        f"-> {percent(report.accuracy_after)} fine-tuned, "
        f"of {report.accuracy_samples} held-out samples",
        "layer", "kind", "outputs x inputs", "pattern", "zeros", "by", "why not",
        right=["zeros"],
    )  # fmt: skip
    for layer in report.layers:
        shape, why = " x ".join(map(str, layer.shape)), layer.reason
        if found := layer.permutation:
            why = f"keeps {percent(found.before)} of its magnitude, {percent(found.after)} reordered"
            why = f"not reordered: {found.reason}" if found.reason else why
        row = (layer.name, layer.kind, shape, layer.pattern, percent(1 - layer.density), layer.engine, why)
        table.add_row(*map(Text, row), style=None if layer.pruned else "dim")
    reused = (
        [Text("Nothing has changed, so the earlier result is used (--force prunes again).", "dim")]
        if pruned.reused
        else []
    )
    return Group(table, *reused)


def bundle_table(bundle: Bundle, warnings: Sequence[str] = ()) -> RenderableType:
    """Every variant of a bundle, and what to know before it is deployed."""
    right = ["zeros", "file", "stored dense", "accuracy"]
    table = new_table(
        f"{bundle.manifest.name}: {bundle.path}", "variant", "pattern", *right, "parity on this host", right=right
    )
    for variant in bundle.manifest.variants:
        table.add_row(
            variant.name, variant.pattern, percent(1 - variant.density), kilobytes(variant.file.bytes),
            kilobytes((variant.twin or variant.file).bytes), percent(variant.accuracy), _parity(variant),
        )  # fmt: skip
    notes = [Text(f"bundle {bundle.id[:16]}" + (", unchanged and used again" if bundle.reused else ""), "dim")]
    return Group(table, *notes, *(Text(f"! {warning}", "yellow") for warning in warnings))


def _parity(variant: Variant) -> str:
    """Where the variant's own file passed, where its twin stood for it, and what failed besides."""
    rows = variant.host_parity
    own = [row for row in rows if row.file == variant.file.path and row.runtime in RUNTIMES]
    if not own:
        return variant.came
    others = [row for row in rows if row not in own]
    told = f"{sum(row.ok for row in own)} of {len(own)} runtimes and backends"
    if XNNPACK not in {row.backend for row in own}:
        told += ", XNNPACK by its twin" if XNNPACK in {row.backend for row in others} else ", XNNPACK left out"
    failed = sum(not row.ok for row in others)
    return told + f", {failed} of {len(others)} other checks failed" * bool(failed)


def layers_table(variant: Variant) -> RenderableType:
    """Every operator of a variant with a kernel: its zeros, how it is stored, and why not otherwise."""
    right = ["shape", "zeros", "bytes"]
    table = new_table(f"{variant.name}: layers", "layer", "operator", *right, "stored", "why", right=right)
    counts = Counter(layer.reason for layer in variant.layers if layer.reason)
    often = [reason for reason, count in counts.most_common() if count > 1]
    for layer in variant.layers:
        why = f"({often.index(layer.reason) + 1})" if layer.reason in often else layer.reason
        table.add_row(
            layer.name, layer.op, "x".join(map(str, layer.shape)), percent(1 - layer.density), kilobytes(layer.bytes),
            layer.encoding, Text(why),
        )  # fmt: skip
    return Group(table, *(Text(f"({number}) {reason}") for number, reason in enumerate(often, 1)), Text())


def preparation_table(name: str, found: Preparation) -> RenderableType:
    """What was changed for XNNPACK, what that does to the function, and what still runs dense."""
    table = new_table(f"{name}: {len(found.changes)} changes", "layer", "change", "function")
    for change in found.changes:
        told = Text("stays", "green") if change.keeps else Text("shifts: fine-tune", "yellow")
        table.add_row(Text(change.layer), Text(change.what), told)
    lines = [Text(f"Outputs with the changes that keep the function: {found.difference:.1e} apart, of the greatest.")]
    if any(not change.keeps for change in found.changes):
        lines.append(Text(f"With all changes: {found.shift:.2g} apart. Fine-tune, as `edgesparse prune` does."))
    lines.append(
        Text(
            f"XNNPACK on {found.board}, with {found.zeros:.0%} zeros: {found.path}, {found.sparse_operators} of "
            f"{found.operators} operators with weights.",
            "bold",
        )
    )
    lines += [Text(f"  dense, {each.operators}: {each.reason}", "dim") for each in found.left]
    return Group(table, *lines)


def check_table(checked: Checked) -> RenderableType:
    """Every layer with weights, and whether it has the pattern."""
    right = ["outputs x inputs", "zeros"]
    answer = "valid" if checked.valid else "not valid"
    table = new_table(
        f"{checked.model}: {answer} {checked.pattern}", "layer", "operator", *right, "verdict", "why", right=right
    )
    for layer in checked.layers:
        shape = "x".join(map(str, layer.shape))
        style = {"valid": "green", "broken": "bold red"}.get(layer.verdict, "dim")
        row = (layer.name, layer.op, shape, percent(layer.zeros), Text(layer.verdict, style), Text(layer.reason))
        table.add_row(*row)
    return table


def lottery_table(found: Lottery) -> RenderableType:
    """Accuracy of tickets and controls by share of zeros: the mean over seeds, and the least and greatest."""
    title = (
        f"{found.model}, {found.pattern}, {found.seeds} seeds, {found.epochs} epochs, {found.samples} samples held out"
    )
    table = new_table(title, "zeros", *ARMS, "ticket wins", right=["zeros", *ARMS, "ticket wins"])
    for level in found.levels:
        cells = [level.accuracy.get(arm) for arm in ARMS]
        told = [f"{percent(each[0])} [{each[1]:.1%}, {each[2]:.1%}]" if each else "-" for each in cells]
        wins = "-" if level.wins is None else f"{level.wins} of {found.seeds}"
        table.add_row(percent(level.sparsity, 0), *(Text(each) for each in told), wins)
    return Group(table, Text(found.verdict))


def boards_table(boards: Sequence[Board], types: Sequence[BoardType], inventory: Path) -> RenderableType:
    """The boards of the inventory, then the types."""
    known = new_table(f"boards ({inventory})", "board", "type", "where")
    for board in boards:
        known.add_row(board.name, board.type.name, "this machine" if board.transport == "local" else board.address)
    kinds = new_table("\nboard types", "type", "architecture", "CPU", "block", "int8", "what it is")
    for kind in types:
        kinds.add_row(kind.name, kind.arch, kind.cpu, kind.block, kind.block_int8, kind.description)
    return Group(known, kinds)


def deployment_table(deployment: Deployment) -> RenderableType:
    """What is ready on the board, what is not, and why."""
    table = new_table(
        f"{deployment.board['name']}: {deployment.runtime['name']} {deployment.runtime['version']}, {deployment.home}",
        "variant / backend / threads", "parity", "path", "why",
    )  # fmt: skip
    for check in deployment.checks:
        ready = check["status"] == "ok"
        path = check["path"]
        error = check["parity"]["max_abs_error"] if check["parity"] else None
        table.add_row(
            check["cell"],
            Text(
                f"ok ({error:.1e} off)" if error is not None and ready else "failed",
                style="green" if ready else "bold red",
            ),
            path["taken"] if path["requested"] == path["taken"] else f"{path['requested']} -> {path['taken']}",
            path["evidence"] if ready else check["reason"],
        )
    pushed = deployment.pushed
    sent = f", {kilobytes(pushed.sent_bytes)} on the link" * (pushed.sent_bytes < pushed.moved_bytes)
    moved = f"{pushed.moved} files moved ({kilobytes(pushed.moved_bytes)}{sent}), {pushed.present} were there"
    return Group(table, Text(moved, "dim"))


def deployment_dict(deployment: Deployment) -> dict[str, Any]:
    """The same as a JSON document."""
    return {
        "version": 1,
        "board": deployment.board,
        "bundle": deployment.bundle,
        "home": deployment.home,
        "runtime": deployment.runtime,
        "files": {
            "present": deployment.pushed.present,
            "moved": deployment.pushed.moved,
            "moved_bytes": deployment.pushed.moved_bytes,
            "sent_bytes": deployment.pushed.sent_bytes,
        },
        "checks": [_plain_check(check, timed=not deployment.board.get("emulated")) for check in deployment.checks],
    }


def _plain_check(check: dict[str, Any], *, timed: bool) -> dict[str, Any]:
    plain = {key: value for key, value in check.items() if key not in ("seq", "t_ns", "type")}
    return plain if timed else {**plain, "delegate": without_times(plain.get("delegate"))}


def agent_table(status: dict[str, Any]) -> RenderableType:
    """Who is measured, who waits, what ended."""
    kept = "a service" if status["service"] else "no service"
    title = (
        f"agent {status['version']} ({status['sha256'][:12]}), {status['state']}, up {status['uptime_s']:.0f} s, "
        f"{kept}, {status['home']}"
    )
    table = new_table("", "run", "owner", "state")
    for entry in status["queue"]:
        if entry["place"]:
            state = f"{entry['place']} before it, for {entry['wait_s']:.0f} s at most"
        elif status["held_by"]:
            state = f"waiting for {status['held_by']}"
        else:
            state = f"measuring for {entry['since_s']:.0f} s, {entry['remaining_s']:.0f} s more at most"
        alone = "" if entry["followers"] else "; nobody follows it"
        table.add_row(entry["run"], entry["owner"], state + alone)
    for entry in status["ended"]:
        table.add_row(entry["run"], entry["owner"] or "", entry["status"], style="dim")
    return Group(Text(title, style="bold"), table) if table.row_count else Text(title, style="bold")
