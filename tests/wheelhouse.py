"""An index of small wheels, in place of PyPI: named and marked as the real ones are, with next to nothing in them."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

import pytest

MODULES = {
    "ai_edge_litert": "ai_edge_litert/interpreter.py",
    "tflite_runtime": "tflite_runtime/interpreter.py",
    "numpy": "numpy/__init__.py",
    "psutil": "psutil/__init__.py",
}


def add_wheel(index: Path, name: str, content: str = "") -> Path:
    """Put a wheel of this file name, without `.whl`, there.

    Args:
        content: of its one module.
    """
    distribution, version, *tag = name.split("-")
    info = f"{distribution}-{version}.dist-info"
    files = {
        MODULES[distribution].split("/")[0] + "/__init__.py": "",
        MODULES[distribution]: content,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {'-'.join(tag)}\n",
    }
    lines = []
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(text)}\n")
    index.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(index / f"{name}.whl", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(f"{info}/RECORD", "".join(lines) + f"{info}/RECORD,,\n")
    return index / f"{name}.whl"


def use_index(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pip, here and in what is started from here, find nothing but these."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
