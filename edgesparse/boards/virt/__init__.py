"""An emulated ARM64 board that anyone can boot: QEMU's `virt` machine with Debian on it.

`ensure_image` builds it, `Machine` boots it; the rest of edgesparse then sees a board like any other, the type
`virt-aarch64`. Its outputs are an ARM64 board's; its time is nobody's, and no result shows it.
"""

from __future__ import annotations

from edgesparse.boards.virt.image import Image, ensure_image, find_image
from edgesparse.boards.virt.machine import TYPE, Machine

__all__ = ["TYPE", "Image", "Machine", "ensure_image", "find_image"]
