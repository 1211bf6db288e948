"""Tell whether a path lies on a network file system, from the kernel's own table of mounts.

SQLite's write-ahead log is shared memory, and a `flock` binds the processes of one machine.  On a network file
system neither reaches the other machines that see the same files: two drivers would each believe themselves
alone, and the file would be damaged.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Final

_NETWORK: Final = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "davfs",
        "fuse.beegfs",
        "fuse.ceph",
        "fuse.gcsfuse",
        "fuse.glusterfs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "smb2",
        "smb3",
        "smbfs",
    }
)
_OCTAL: Final = re.compile(r"\\([0-7]{3})")  # blank, tab, line feed and backslash stand escaped in the table


def network_file_system(mounts: str, path: str) -> str | None:
    r"""Return the type of the network file system that holds an absolute path, or None if its disk is local.

    `mounts` is the text of Linux's /proc/self/mounts: device, directory, type and options per line, a later
    line hiding an earlier one for the same directory.  A root of type 9p is the own disk of a sandbox, not a
    share.
    """
    found, depth = ("/", ""), -1
    parts = PurePosixPath(path).parts
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        directory = _OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[1])
        mount = PurePosixPath(directory).parts
        if parts[: len(mount)] == mount and len(mount) >= depth:
            found, depth = (directory, fields[2]), len(mount)
    directory, kind = found
    if kind == "9p" and directory == "/":
        return None
    return kind if kind in _NETWORK else None
