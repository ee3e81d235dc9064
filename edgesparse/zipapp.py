"""The agent as one file: a zipapp of `agent/` and `wire.py`, the same bytes for the same sources, named by its hash."""

from __future__ import annotations

import hashlib
import io
import zipfile
from functools import cache
from pathlib import Path

_MAIN = "from edgesparse.agent.__main__ import main\n\nraise SystemExit(main())\n"


@cache
def agent_zipapp() -> tuple[bytes, str]:
    """The zipapp's bytes and their SHA-256."""
    package = Path(__file__).parent
    sources = [package / "__init__.py", package / "wire.py", *sorted((package / "agent").rglob("*.py"))]
    members = {f"edgesparse/{path.relative_to(package).as_posix()}": path.read_text() for path in sources}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in {"__main__.py": _MAIN, **members}.items():
            archive.writestr(zipfile.ZipInfo(name), text)  # ZipInfo's fixed date keeps the bytes the same
    data = buffer.getvalue()
    return data, hashlib.sha256(data).hexdigest()
