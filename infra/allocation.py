"""How a process treats memory: large blocks are given back at once, cycles are looked for seldom.

A worker that reads a backlog takes buffers of a megabyte many times a second. glibc raises the size from which a block
gets a mapping of its own to that of the largest one freed (mallopt(3), M_MMAP_THRESHOLD): from then on the buffers come
from the heap, small objects settle between them, and the heap keeps their space for good.
"""

import ctypes
import gc
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


LIVING = 20_000
"""Objects that may come to be before cycles are looked for. What a worker holds of the log at once is some 20,000
objects, none of them in a cycle: at CPython's own 700 every look finds them all alive, a sixth of a stage's time."""


def look_for_cycles_seldom() -> None:
    """Raise the first threshold of the collector of this process; the others keep their values.

    What is there already, mostly code, is never looked at again: call it once all is imported. A full look at a
    gateway's 130,000 objects holds every request for 0.08 s.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(LIVING, *gc.get_threshold()[1:])
