"""The clock's governor, set for a run and put back whatever happens.

What it was is written down before it is changed. So it is put back at the end of the run, cancelled or not; and, where
the agent was killed in between, when the next one starts. A reboot puts it back by itself.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from edgesparse.agent.store import read_json, write_aside

PERFORMANCE = "performance"
_FILE = "tuned.json"
_GOVERNORS = "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor"


class Tuning:
    """Governors of this board.

    Args:
        home: the agent's directory, where what was before is kept meanwhile.
        root: where `sys` lies.
    """

    def __init__(self, home: Path, root: Path = Path("/")) -> None:
        self._file, self._root = home / _FILE, root

    def apply(self) -> dict[str, str]:
        """Set every core's governor to performance.

        Returns:
            What each was, by its file.

        Raises:
            OSError: this user may not, or the board has none; nothing is then changed.
        """
        self.restore()
        before = {str(path): path.read_text().strip() for path in sorted(self._root.glob(_GOVERNORS))}
        if not before:
            raise OSError("this board's kernel lets nobody choose a governor")
        write_aside(self._file, json.dumps(before).encode())
        try:
            for path in before:
                _write(Path(path), PERFORMANCE)
        except OSError:
            self.restore()
            raise
        return before

    def restore(self) -> bool:
        """Put back what was before; False if nothing had been changed."""
        before = read_json(self._file)
        if before is None:
            return False
        for path, governor in before.items():
            if Path(path).read_text().strip() != governor:
                _write(Path(path), governor)
        self._file.unlink(missing_ok=True)
        return True


def _write(path: Path, governor: str) -> None:
    """As this user, else as root where sudo asks for nothing."""
    try:
        path.write_text(governor)
        return
    except PermissionError:
        pass  # then by sudo
    try:
        done = subprocess.run(
            ["sudo", "-n", "tee", str(path)], input=governor, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise PermissionError(f"setting the governor needs root, and sudo does not start: {error}") from None
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise PermissionError(f"setting the governor needs root; sudo said: {said}")
