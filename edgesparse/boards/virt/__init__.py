"""Emulated ARM boards that anyone can boot: QEMU's `virt` machine with Debian on it.

`ensure_image` builds one, `Machine` boots it; the rest of edgesparse then sees a board like any other, of the type
`virt-aarch64` or `virt-armv7`. Its outputs are an ARM board's; its time is nobody's, and no result shows it.
"""

from __future__ import annotations

from edgesparse.boards.virt.image import Image, ensure_image, find_image
from edgesparse.boards.virt.machine import Machine
from edgesparse.boards.virt.recipe import TYPE, emulated_types

__all__ = ["TYPE", "Image", "Machine", "emulated_types", "ensure_image", "find_image"]
