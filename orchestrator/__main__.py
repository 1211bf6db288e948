"""``python -m orchestrator``, and what both console scripts call."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    from orchestrator.cli.main import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
