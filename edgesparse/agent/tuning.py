"""The clock's governor, set for a run and put back whatever happens.

What it was is written down before it is changed. So it is put back at the end of the run, cancelled or not. Where the
agent is killed in between, a shell that waits for its end does it; where that is killed too, the next agent to start.
A reboot puts it back by itself.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path

from edgesparse.agent.store import read_json, write_aside

PERFORMANCE = "performance"
_FILE = "tuned.json"
_GOVERNORS = "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor"
_END_S = 10.0
# Gets the file of what was before, then each governor's path and what it was. Its stdin ends when the agent does.
# What it cannot put back, such as that of a core that is off, stays in the file for the next agent.
_GUARD = """\
trap '' INT TERM HUP
cat > /dev/null
file=$1
shift
[ -e "$file" ] || exit 0
left=
while [ $# -gt 1 ]; do
    if [ -w "$1" ]; then echo "$2" > "$1"; else echo "$2" | sudo -n tee "$1" > /dev/null; fi ||
        left="$left${left:+, }\\"$1\\": \\"$2\\""
    shift 2
done
if [ -z "$left" ]; then rm -f "$file"; else echo "{$left}" > "$file.left" && mv "$file.left" "$file"; fi
"""


class Tuning:
    """Governors of this board.

    Args:
        home: the agent's directory, where what was before is kept meanwhile.
        root: where `sys` lies.
    """

    def __init__(self, home: Path, root: Path = Path("/")) -> None:
        self._file, self._root = home / _FILE, root
        self._guard: subprocess.Popen[bytes] | None = None

    def apply(self) -> dict[str, str]:
        """Set every core's governor to performance.

        Returns:
            What each was, by its file.

        Raises:
            OSError: this user may not, or the board has none; nothing is then changed.
        """
        with contextlib.suppress(OSError):  # what could not be put back is still to be
            self.restore()
        before = {str(path): path.read_text().strip() for path in sorted(self._root.glob(_GOVERNORS))}
        if not before:
            raise OSError("this board's kernel lets nobody choose a governor")
        before.update(read_json(self._file) or {})
        write_aside(self._file, json.dumps(before).encode())
        self._guard = _start_guard(self._file, before)
        try:
            for path in before:
                _write(Path(path), PERFORMANCE)
        except OSError:
            with contextlib.suppress(OSError):  # why it could not be set says as much
                self.restore()
            raise
        return before

    def restore(self) -> bool:
        """Put back what was before; False if nothing had been changed.

        Raises:
            OSError: some cannot be put back; all others are, and a later call tries these again.
        """
        before: dict[str, str] | None = read_json(self._file)
        if before is None:
            return False
        left, reasons = {}, []
        for path, governor in before.items():
            try:
                if Path(path).read_text().strip() != governor:
                    _write(Path(path), governor)
            except OSError as error:  # such as a core that has been switched off since
                left[path] = governor
                reasons.append(f"{path} is not {governor} again: {error.strerror or error}")
        if left:
            write_aside(self._file, json.dumps(left).encode())
            raise OSError("; ".join(reasons))
        self._file.unlink(missing_ok=True)
        self._dismiss_guard()
        return True

    def _dismiss_guard(self) -> None:
        guard, self._guard = self._guard, None
        if guard is not None:
            assert guard.stdin is not None
            guard.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):  # it finds nothing to do, now or later
                guard.wait(_END_S)


def _start_guard(file: Path, before: dict[str, str]) -> subprocess.Popen[bytes] | None:
    words = [word for pair in before.items() for word in pair]
    try:
        return subprocess.Popen(
            ["sh", "-c", _GUARD, "sh", str(file), *words], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    except OSError:  # without a shell the next agent does it
        return None


def _write(path: Path, governor: str) -> None:
    """As this user, else as root where sudo asks for nothing."""
    try:
        path.write_text(governor)
        return
    except PermissionError:
        pass  # then by sudo
    except OSError as error:
        raise OSError(error.errno, f"{path} does not take {governor}: {error.strerror}") from None
    try:
        done = subprocess.run(
            ["sudo", "-n", "tee", str(path)], input=governor, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise PermissionError(f"setting the governor needs root, and sudo does not start: {error}") from None
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise PermissionError(f"setting the governor needs root; sudo said: {said}")
