"""What native libraries write to stderr before anything can tell them not to."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

_NOISE = re.compile(rb"^([IW]\d{4} |INFO:|WARNING:|fully_quantize: )")


@contextmanager
def quiet_native_logs() -> Iterator[None]:
    """Hold back what native code logs to file descriptor 2, then pass on all but its information and warning lines.

    TensorFlow's libraries log through absl before absl is set up, which no variable of the environment silences.
    """
    sys.stderr.flush()
    try:
        original = os.dup(2)
    except OSError:  # no stderr at all (a daemon): nothing to keep clean
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(original, 2)
            os.close(original)
            held.seek(0)
            for line in held:
                if not _NOISE.match(line):
                    os.write(2, line)
