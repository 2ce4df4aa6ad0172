import gc
import subprocess
import sys

import pytest

from infra.allocation import LIVING, look_for_cycles_seldom

LOOK = """
import ctypes, sys
from infra.allocation import return_large_blocks

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd a b c d e".split()]

info = ctypes.CDLL(None).mallinfo2
info.restype = Info
if sys.argv[1] == "fixed":
    assert return_large_blocks()
large = bytearray(16_000_000)
del large
before = info().hblks
block = bytearray(1_000_000)
print(info().hblks - before)
"""


@pytest.mark.parametrize(("told", "mappings"), [("fixed", "1"), ("as it comes", "0")])
def test_a_large_block_behind_a_larger_one_has_a_mapping_of_its_own(told: str, mappings: str) -> None:
    """Else it comes from the heap, which small objects then keep from shrinking (glibc, where Millrace is tested)."""
    found = subprocess.run([sys.executable, "-c", LOOK, told], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == mappings


def test_cycles_are_looked_for_seldom_and_found_all_the_same() -> None:
    before = gc.get_threshold()
    try:
        look_for_cycles_seldom()
        assert gc.get_threshold() == (LIVING, *before[1:])
        assert gc.isenabled()
        assert gc.get_freeze_count() > 1_000
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
