"""Puts the compiled kernels into the wheel: hatchling calls this while it builds one.

An editable installation gets none; there `make setup` builds them where edgesparse finds them.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LIBRARY = "libedgesparse_delegate.so"
ARCHITECTURES = ("x86_64", "aarch64", "armv7l")


class KernelsHook(BuildHookInterface):  # type: ignore[type-arg, misc, unused-ignore]  # hatchling is in the build only
    """Compiles the libraries, which takes half a minute from nothing, and adds them."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Before the wheel's files are gathered."""
        if version == "editable":
            return
        kernels = Path(self.root) / "kernels"
        subprocess.run([sys.executable, str(kernels / "build_libraries.py")], check=True)
        for arch in ARCHITECTURES:
            library = kernels / "build" / arch / LIBRARY
            build_data["force_include"][str(library)] = f"edgesparse/kernels/{arch}/{LIBRARY}"
