"""The page: one HTML file that holds all it shows, works without a network, and says first what the runs say."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from edgesparse import __version__
from edgesparse.errors import UsageError
from edgesparse.files import write_whole
from edgesparse.report import export
from edgesparse.report.answer import Answer, answer
from edgesparse.report.charts.style import NAMES_PX, PAGE, VALUES_PX, config
from edgesparse.report.charts.tables import JITTER, TABLES, Entry, all_series
from edgesparse.report.html import again
from edgesparse.report.html.grid import Grid, Line
from edgesparse.report.html.packing import pack
from edgesparse.report.html.sections import Sections
from edgesparse.report.masks import MASKS, Mask, mask_path, read_masks
from edgesparse.report.summary import Comparison
from edgesparse.store import Run

# Of more variants than this one layer each is shown, else a page would be pictures for the most part.
_FEW_VARIANTS = 8
# What Vega's bundle gives to the page's script.
_EXPORTS = "window.vegaEmbed = vegaEmbed;"


def write_report(runs: Sequence[Run], path: Path) -> None:
    """Write the report of some runs: one file, whole or not at all.

    Raises:
        UsageError: no runs, or the file cannot be written.
    """
    page = render(runs)
    try:
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, page.encode())
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.", hint="Give another file.") from None


def render(runs: Sequence[Run]) -> str:
    """The whole page.

    Raises:
        UsageError: no runs.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    if not runs:
        raise UsageError("Expected at least one run to report on.", hint="edgesparse report RUN --html report.html")
    comparisons = [run.comparison() for run in runs]
    labels = labels_of(comparisons)
    sections = Sections(runs, comparisons, labels)
    parts = sections.all()
    answers = [answer(each) for each in comparisons]
    context, refusals = again.contexts(runs, comparisons, labels) if len(runs) > 1 else (None, [])
    environment = Environment(
        loader=PackageLoader("edgesparse.report.html", "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"mask_path": mask_path, "coded": _coded}
    return environment.get_template("page.html.jinja").render(
        title=_title(comparisons), comparisons=comparisons, labels=labels, answers=answers, sections=parts,
        side_by_side=_side_by_side(comparisons, answers, labels) if len(runs) > 1 else None,
        warnings=sections.told(lambda each: each.warnings),
        context=context, refusals=refusals, masks=_masks(runs, labels), version=__version__,
        commands=[again.commands(run) for run in runs],
        variants=list(dict.fromkeys(variant.name for each in comparisons for variant in each.variants)),
        series=list(dict.fromkeys(name for each in comparisons for name in all_series(each))),
        data=_data(comparisons, sections.specs), libraries=_libraries(),
    )  # fmt: skip


def labels_of(comparisons: Sequence[Comparison]) -> list[str]:
    """What each run is called: its board; with the run's id where a board has several."""
    boards = Counter(each.board["name"] for each in comparisons)
    return [
        each.board["name"] if boards[each.board["name"]] == 1 else f"{each.board['name']} {each.run}"
        for each in comparisons
    ]


def _coded(text: str) -> Markup:
    """Escaped, with what stands in backquotes as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _title(comparisons: Sequence[Comparison]) -> str:
    names = ", ".join(dict.fromkeys(each.bundle["name"] for each in comparisons))
    boards = list(dict.fromkeys(each.board["name"] for each in comparisons))
    return f"{names} on {boards[0] if len(boards) == 1 else f'{len(boards)} boards'}"


def _side_by_side(comparisons: Sequence[Comparison], answers: Sequence[Answer], labels: Sequence[str]) -> Grid:
    """A line for each run: the board, dense at its best, and the numbers of its answer."""
    lines = []
    for comparison, found, label in zip(comparisons, answers, labels, strict=True):
        known = {fact.name: fact.value for fact in found.facts}
        told = ["-"] * 3
        if found.cell is not None:
            variant, row = found.cell
            against = export.ratio(row) if comparison.measured == "latency" else f"{known['Instructions']}"
            told = [variant.name, row.backend, against]
        cpu = comparison.board.get("cpu") or comparison.board["type"]
        rest = (known.get(name, "-") for name in ("Accuracy", "Energy", "File"))
        lines.append(Line((label, str(cpu), comparison.measured, *told, *rest, comparison.run)))
    heads = ("board", "CPU", "measured", "variant", "backend", "against dense", "accuracy", "energy", "file", "run")
    return Grid("What each run came to", heads, lines, frozenset({0, 1, 2, 3, 4, 9}))


def _masks(runs: Sequence[Run], labels: Sequence[str]) -> list[dict[str, Any]]:
    """The masks of each bundle once, and why some are missing."""
    found: dict[str, dict[str, Any]] = {}
    for run, label in zip(runs, labels, strict=True):
        masks = read_masks(run.path)
        group = found.setdefault(run.record.about["bundle"]["id"], {"labels": [], "masks": [], "unread": {}})
        group["labels"].append(label)
        group["masks"] = group["masks"] or _some(masks.masks)
        group["unread"] |= masks.unread
        if not masks.masks and not masks.unread:
            group["unread"].setdefault("", f"{run.id} has no {MASKS}, or nothing in it is pruned")
    for group in found.values():
        if group["masks"]:
            group["unread"].pop("", None)
    return list(found.values())


def _some(masks: Sequence[Mask]) -> list[Mask]:
    variants = list(dict.fromkeys(mask.variant for mask in masks))
    if len(variants) <= _FEW_VARIANTS:
        return list(masks)
    return [max((mask for mask in masks if mask.variant == name), key=lambda mask: mask.outputs * mask.inputs)
            for name in variants]  # fmt: skip


def _data(comparisons: Sequence[Comparison], specs: Sequence[dict[str, Any]]) -> str:
    """Tables, samples and charts as JSON that may stand in a script element."""
    runs = [
        {"tables": {name: _columns(table(each)) for name, table in TABLES.items() if name != "samples"}, **pack(each)}
        for each in comparisons
    ]
    room = {"values": VALUES_PX, "names": NAMES_PX}
    found = {"runs": runs, "charts": specs, "config": config(PAGE), "jitter": JITTER, "room": room}
    return json.dumps(found, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _columns(entries: Sequence[Entry]) -> dict[str, Any]:
    """The names once, then rows of values."""
    names = list(entries[0]) if entries else []
    return {"columns": names, "rows": [list(entry.values()) for entry in entries]}


@lru_cache(maxsize=1)
def _libraries() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that may stand in a script element."""
    import vl_convert

    bundle: str = vl_convert.javascript_bundle(_EXPORTS)
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")
