"""Two runs beside each other: what changed in the setting, what changed in the result, and what is noise."""

from edgesparse.report.comparing.compared import RunsCompared, compare_runs
from edgesparse.report.comparing.gate import judge, require_not_slower
from edgesparse.report.comparing.junit import to_junit
from edgesparse.report.comparing.markdown import to_markdown
from edgesparse.report.comparing.terminal import render
from edgesparse.report.comparing.verdict import Verdict
from edgesparse.report.comparing.words import to_json

__all__ = [
    "RunsCompared",
    "Verdict",
    "compare_runs",
    "judge",
    "render",
    "require_not_slower",
    "to_json",
    "to_junit",
    "to_markdown",
]
