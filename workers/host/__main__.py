"""`python -m workers.host NAME…`. A file of its own: spawned parser children import what their parent ran."""

import sys

from workers.host.run import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
