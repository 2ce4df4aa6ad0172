"""Gives large blocks of memory back to the system as soon as they are free.

A worker that reads a backlog takes buffers of a megabyte many times a second. glibc raises the size from which a block
gets a mapping of its own to that of the largest one freed (mallopt(3), M_MMAP_THRESHOLD): from then on the buffers come
from the heap, small objects settle between them, and the heap keeps their space for good.
"""

import ctypes
import sys

M_MMAP_THRESHOLD = -3
OWN_MAPPING_BYTES = 128 * 1024
"""glibc's own value at the start; setting it ends the raising."""


def return_large_blocks() -> bool:
    """Fix the threshold for this process; tell whether its C library takes the setting (glibc does)."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return bool(mallopt is not None and mallopt(M_MMAP_THRESHOLD, OWN_MAPPING_BYTES))
