"""How much memory planning and uploading take, whatever the size of the file."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench import contenders, files
from bench.files import Kind
from bench.results import Row, Run
from bench.uploading import HELD_BYTES

MB: Final = 1_000_000
PLANNING_MB_MAX: Final = 16
UPLOAD_MB_MAX: Final = 2
LARGE_BYTES: Final = 8 * 2**30
BYTES: Final = 2**28
TRIAL_BYTES: Final = 2**26
UPLOADED_BYTES: Final = 120_000_000  # a dozen chunks
LEFT_BYTES: Final = 2**30  # of the disk, to others


def measure(run: Run) -> list[Row]:
    """Compare peaks of whole commands, planning a large file and a tiny one; then hold uploads half sent."""
    rows = [_planning(run, kind, size) for kind, size in _sizes(run)]
    run.say("memory: uploads in progress ...")
    return [*rows, _uploading(run)]


def _sizes(run: Run) -> Iterator[tuple[Kind, int]]:
    if run.trial:
        yield files.SOME_QUOTED, TRIAL_BYTES
        return
    yield files.SOME_QUOTED, LARGE_BYTES
    for kind in (files.TINY, files.LONG, files.MANY_STRAY):
        yield kind, LARGE_BYTES if run.full else BYTES


def _planning(run: Run, kind: Kind, size: int) -> Row:
    what = f"planning: {kind.name}, {size / 2**20:,.0f} MiB"
    run.say(f"memory: {what} ...")
    free = shutil.disk_usage(run.directory).free
    if free < size + LEFT_BYTES:
        raise RuntimeError(f"{run.directory} has {free:,} bytes free and {size:,} are needed; give another --directory")
    peaks = []
    for bytes_wanted in (1, size):
        path = files.make(kind, run.directory / "source.csv", bytes_wanted).path
        peaks.append(_peak_of_plan(path))
        path.unlink()
    return Row(
        what=what, figure="more memory", values=((peaks[1] - peaks[0]) / MB,), unit="MB", at_most=PLANNING_MB_MAX
    )


def _peak_of_plan(path: Path) -> int:
    """Plan with the command; keys are not compared, because `import` does that later, chunk by chunk."""
    peak = path.with_name("peak")
    command = ["plan", "--json", "--offline", "--on-repeated-key", "ignore", str(path)]
    subprocess.run(
        [sys.executable, "-m", "bench.peak", str(peak), *command],
        check=True,
        stdout=subprocess.DEVNULL,
        env=contenders.environment(path.parent / "state"),
    )
    return int(peak.read_text(encoding="ascii"))


def _uploading(run: Run) -> Row:
    made = files.make(files.ASCII, run.directory / "source.csv", UPLOADED_BYTES)
    with _receiver() as port:
        ran = subprocess.run(
            [sys.executable, "-m", "bench.uploading", str(made.path), str(port)], check=True, stdout=subprocess.PIPE
        )
    made.path.unlink()
    return Row(
        what="an upload in progress, one of ten",
        figure="more memory",
        values=(float(ran.stdout) / MB,),
        unit="MB",
        at_most=UPLOAD_MB_MAX,
    )


@contextmanager
def _receiver() -> Iterator[int]:
    """Listen, and read the beginning of whatever is sent; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def read(connection: socket.socket) -> None:
            left = HELD_BYTES
            while left > 0 and (data := connection.recv(min(left, 2**16))):
                left -= len(data)

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:  # the server is closed
                    return
                held.append(connection)
                threading.Thread(target=read, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)  # ends the accept
            thread.join()
            for connection in held:
                connection.close()
