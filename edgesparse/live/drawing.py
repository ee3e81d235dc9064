"""A run as it goes on, drawn for a terminal: how far it is, a row for each variant, the board, the last event."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from edgesparse.live.state import CellState, RunState
from edgesparse.quantity import NO_LATENCY

# Lines that are not rows of the table: what is measured, how far, the head, the board, the last event, how to leave,
# and one for the cursor.
_OTHER_LINES = 7
_BAR_COLUMNS = 24
# The least for a variant's name, and what a figure and its comparison with dense take, the space before them included.
_NAME_COLUMNS, _FIGURE_COLUMNS, _AGAINST_COLUMNS = 12, 10, 8


class RunDrawing:
    """Draws a state.

    Args:
        state: what is known.
        title: what is measured where.
        leaving: what Ctrl-C does.
        now_s: on the clock that `state` was given.
        whole: every row, however high the terminal is.
    """

    def __init__(self, state: RunState, title: str, leaving: str, now_s: float, *, whole: bool = False) -> None:
        self.state, self.title, self.leaving, self.now_s, self.whole = state, title, leaving, now_s, whole

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        state = self.state
        yield _line(f"{self.title}, run {state.run}" if state.run else self.title, "bold")
        if state.waiting:
            yield _line(state.waiting)
        elif state.began:
            yield self._progress(options.max_width)
        if state.cells:
            height = len(state.cells) if self.whole else (options.height or console.height) - _OTHER_LINES
            yield self._table(options.max_width, height)
        if board := self._board():
            yield _line(board, "yellow" if state.throttled else "")
        yield _line(state.said or "making ready")
        if self.leaving:
            yield _line(self.leaving, "dim")

    def _progress(self, width: int) -> Table:
        """Bar and times; as much of the words as there is room for."""
        state, share = self.state, self.state.share()
        sustained = state.spec is not None and state.spec.sustained_s
        rounds = f" of {state.most_rounds}" if state.most_rounds else ""
        launched = state.launches or state.current
        done = f"round {state.round + 1}{rounds}" if launched else "checking"
        elapsed_s, left_s = state.elapsed_s(self.now_s), state.remaining_s(self.now_s)
        left = f", {clock(left_s)} left at most" if left_s is not None else ""
        table = Table.grid(padding=(0, 2))
        for _ in range(3):
            table.add_column(no_wrap=True)
        # Without a known end an empty bar: one that pulsed would have to be drawn again and again.
        bar = ProgressBar(total=1.0, completed=share or 0.0, width=min(_BAR_COLUMNS, max(4, width - 56)))
        table.add_row(Text("sustained" if sustained and launched else done), bar, Text(f"{clock(elapsed_s)}{left}"))
        return table

    def _table(self, width: int, height: int) -> Table:
        state, backends = self.state, list(dict.fromkeys(cell.backend for cell in self.state.cells.values()))
        several = len({cell.threads for cell in state.cells.values()}) > 1
        rows: dict[str, dict[str, tuple[str, CellState]]] = {}
        for name, cell in state.cells.items():
            label = f"{cell.variant} x{cell.threads}" if several else cell.variant
            rows.setdefault(label, {})[cell.backend] = name, cell
        room = width - _FIGURE_COLUMNS * len(backends)
        against = room - _AGAINST_COLUMNS * len(backends) >= _NAME_COLUMNS  # else there is no room for it
        table = Table.grid(padding=(0, 1))
        most = room - _AGAINST_COLUMNS * len(backends) * against
        table.add_column(no_wrap=True, overflow="ellipsis", min_width=_NAME_COLUMNS, max_width=max(_NAME_COLUMNS, most))
        for _ in backends:
            table.add_column(justify="right", no_wrap=True, min_width=_FIGURE_COLUMNS - 1)
            if against:
                table.add_column(justify="right", no_wrap=True, min_width=_AGAINST_COLUMNS - 1)
        unit = {"latency": "median ms", "instructions": "M instructions", "nothing": NO_LATENCY}[state.quantity]
        heads = [text for backend in backends for text in (Text(backend, "dim"), Text(""))[: 1 + against]]
        table.add_row(Text(unit, "dim"), *heads)
        shown, left_out = _window(list(rows), self._current_row(rows), height)
        for label in shown:
            cells = [rows[label].get(backend) for backend in backends]
            figures = [
                text
                for each in cells
                for text in (self._figure(*each) if each else (Text(""), Text("")))[: 1 + against]
            ]
            table.add_row(Text(label), *figures)
        if left_out:
            table.add_row(Text(f"and {left_out} more", "dim"))
        return table

    def _current_row(self, rows: dict[str, dict[str, tuple[str, CellState]]]) -> int:
        current = (place for place, row in enumerate(rows.values()) for name, _ in row.values())
        names = [name for row in rows.values() for name, _ in row.values()]
        places = dict(zip(names, current, strict=True))
        return places.get(self.state.current, 0)

    def _figure(self, name: str, cell: CellState) -> tuple[Text, Text]:
        """What was measured, with a mark while it is launched, and how it compares with dense."""
        state, mark = self.state, "> " if name == self.state.current else ""
        if cell.status == "failed":
            return Text(cell.kind, "red"), Text("")
        figure = state.shown(cell.figure())
        if not figure:
            words = {"waiting": "-", "checked": "ready", "launched": "launched"}[cell.status]
            return Text(mark + words, "" if mark else "dim"), Text("")
        ratio = state.of_dense(cell)
        against = "" if ratio is None else f"{ratio:.2f}x" if state.quantity == "latency" else f"{ratio:.3f}"
        return Text(mark + figure), Text(against)

    def _board(self) -> str:
        """Heat, clock, power and what else goes on there; an emulated board has none of them."""
        state = self.state
        if state.quantity != "latency":
            return ""
        simulated = " simulated" * state.power_simulated
        parts = [
            f"{state.temperature_c:.0f} °C" if state.temperature_c is not None else "",
            f"{state.frequency_mhz:.0f} MHz" if state.frequency_mhz is not None else "",
            f"{state.power_w:.2f} W{simulated}" if state.power_w is not None else "",
            f"{state.other_cpu_percent:.0f} % CPU by others" if state.other_cpu_percent is not None else "",
            ", ".join(state.throttled[:2]),
        ]
        return "  ".join(part for part in parts if part)


def clock(seconds: float) -> str:
    """Such as 0:07, 12:30, 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _window(labels: Sequence[str], current: int, height: int) -> tuple[Sequence[str], int]:
    """The rows that fit, the first and the current one among them, and how many do not."""
    if len(labels) <= max(height, 3):
        return labels, 0
    room = max(height - 2, 2)  # without the first, and the line that says how many more there are
    begin = min(max(1, current - room // 2), len(labels) - room)
    return [labels[0], *labels[begin : begin + room]], len(labels) - room - 1


def _line(text: str, style: str = "") -> Text:
    return Text(text, style, no_wrap=True, overflow="ellipsis")
