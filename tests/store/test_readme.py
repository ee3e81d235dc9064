"""What the README says of runs, as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.report.runs import fill, make_run


def test_the_readmes_python_works(tmp_path: Path) -> None:
    run = fill(make_run(tmp_path), rounds=2)
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    blocks = [text.split("```")[0] for text in readme.split("```python\n")[1:]]
    block = next(text for text in blocks if "Run.load(" in text)
    names: dict[str, Any] = {}
    exec(re.sub(r'Run\.load\("[^"]+"\)', f'Run.load("{run.id}")', block), names)
    assert names["run"].id == run.id
    assert len(names["run"].samples) == sum(
        len(record["latency_ns"]) + len(record["warmup_ns"]) for record in run.records() if record["type"] == "samples"
    )
