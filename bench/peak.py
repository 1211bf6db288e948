"""How much memory this process has had at most.

``python -m bench.peak FILE …`` runs the command with the other arguments, and writes its peak to the file.  The child
looks at itself: what a parent is told of it includes the moment before it became another program.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def peak_bytes() -> int:
    """Return the largest resident size so far."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:  # no Linux; macOS counts bytes there
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(peak) * 1024


def main() -> None:
    """Run the command."""
    from orchestrator.__main__ import main as command

    written = Path(sys.argv.pop(1))
    try:
        command()
    finally:
        written.write_text(str(peak_bytes()), encoding="ascii")


if __name__ == "__main__":
    main()
