"""An explanation for people: every operator with weights, what each backend does with it and why, then what to do."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from edgesparse.explain.forecast import BackendSummary, Explanation, OperatorForecast, PathForecast, Storage
from edgesparse.report.tables import kilobytes, new_table, percent

_STYLES = {"sparse": "green", "dense": "", "wrong": "bold red", "fails": "bold red", "": "dim"}

_VERDICTS = {
    "sparse": "runs sparse",
    "dense": "runs dense",
    "wrong": "computes wrong outputs",
    "fails": "does not start",
}


def render(explanation: Explanation) -> RenderableType:
    """The table of operators, one line for each backend, and advice, the most effective first."""
    backends = list(explanation.summaries)
    isa = ", ".join(explanation.isa) or "no vector instructions known"
    table = new_table(
        f"{explanation.model} on {explanation.board} ({explanation.arch}: {isa}), {explanation.runtime}",
        *("#", "operator", "layer", "outputs x inputs", "stored", "zeros", "work", *backends),
        right=["#", "zeros", "work"],
    )
    for each in explanation.operators:
        if each.weights or any(path.path for path in each.paths.values()):
            table.add_row(*_row(explanation, each, backends))
    parts: list[RenderableType] = [table, Text()]
    parts += [_verdict(summary, explanation.density < 1) for summary in explanation.summaries.values()]
    if explanation.advice:
        parts += [Text(), Text("What to do", "bold")]
    for number, advice in enumerate(explanation.advice, start=1):
        where = f"{' and '.join(advice.backends)}, {_numbers(advice.operators)}"
        share = f"{where}, {percent(advice.macs_share, 0)} of the work"
        parts.append(Text.assemble(f"{number}. {advice.text} ", (f"({share})", "dim")))
    if explanation.storage is not None:
        parts += [Text(), _storage(explanation.storage)]
    parts += [Text(), *(Text(note, "dim") for note in explanation.notes)]
    return Group(*parts)


def _row(explanation: Explanation, each: OperatorForecast, backends: list[str]) -> list[Text]:
    shape = " x ".join(map(str, each.shape))
    stored = f"{each.type} {each.encoding}".strip() if each.weights else ""
    zeros = percent(each.zeros) if each.weights else ""
    if each.zero_blocks is not None:
        zeros += f"\n{percent(each.zero_blocks)} of {explanation.block_int8}"
    work = percent(each.macs / explanation.macs, 0) if each.weights and explanation.macs else ""
    plain = [str(each.index), each.op, each.name, shape, stored, zeros, work]
    return [*map(Text, plain), *(_path(each.paths[backend]) for backend in backends)]


def _path(forecast: PathForecast) -> Text:
    if not forecast.path:
        return Text("-", "dim")
    said = forecast.kernel if forecast.path == "sparse" else forecast.reason
    return Text.assemble((forecast.path, _STYLES[forecast.path]), f": {said}")


def _verdict(summary: BackendSummary, has_zeros: bool) -> Text:
    line = Text.assemble((f"{summary.backend} ", "bold"), (_VERDICTS[summary.path], _STYLES[summary.path]))
    if summary.sparse_operators and summary.path == "sparse":
        zeros = percent(1 - (summary.sparse_density or 0.0))
        line.append(
            f": {summary.sparse_operators} of {summary.operators} operators with weights, "
            f"{percent(summary.sparse_macs_share, 0)} of the work, with {zeros} zeros"
        )
    elif summary.path == "dense":
        line.append(": its zeros save no time" if has_zeros else ": it has no zeros to skip")
    elif summary.reason:
        line.append(f": {summary.reason}")
    return line


def _storage(storage: Storage) -> Text:
    """What the zeros cost while nobody stores them away."""
    return Text(
        f"The file takes {kilobytes(storage.file_bytes)}, its int8 weights stored dense, zeros included: every runtime "
        f"runs it. In TFLite's sparse encoding it would take {kilobytes(storage.sparse_bytes)}, and no runtime would "
        f"run it right; compressed by zstd it takes {kilobytes(storage.zstd_bytes)}."
    )


def _numbers(operators: list[int]) -> str:
    """Operator numbers, runs of which are cut short."""
    shown = ", ".join(map(str, operators[:6]))
    more = f" and {len(operators) - 6} more" if len(operators) > 6 else ""
    return f"operator{'s' if len(operators) > 1 else ''} {shown}{more}"
