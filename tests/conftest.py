"""What Python compiles is kept for the hundreds of processes that the tests start, and for the next run of them.

It lies beside pytest's own cache: the trees that are tested stay as they are, and a machine on which Python is told to
keep nothing does not compile everything anew for each process.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

COMPILED = str(Path(__file__).parents[1] / ".pytest_cache" / "compiled")

sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = COMPILED
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
