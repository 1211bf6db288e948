"""Which paths lie on a network file system, told from the table of mounts."""

from __future__ import annotations

import pytest

from orchestrator.journal.mounts import network_file_system

LOCAL = """\
/dev/sda1 / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
tmpfs /tmp tmpfs rw 0 0
server:/export /home nfs4 rw,vers=4.2,addr=10.0.0.1 0 0
/dev/sdb1 /home/me/local xfs rw 0 0
//nas/share /mnt/with\\040blank cifs rw 0 0
me@host:/ /home/me/local/ssh fuse.sshfs rw 0 0
drvfs /mnt/c 9p rw,aname=drvfs 0 0
/dev/sdc1 /mnt/twice ext4 rw 0 0
nas:/x /mnt/twice nfs rw 0 0
server:/export /mnt/covered nfs rw 0 0
/dev/sdd1 /mnt/covered btrfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/orchestrator/journal.db", None),
        ("/tmp/journal.db", None),
        ("/home/me/journal.db", "nfs4"),
        ("/home/journal.db", "nfs4"),
        ("/homeless/journal.db", None),  # not under /home
        ("/home/me/local/journal.db", None),
        ("/home/me/local/ssh/journal.db", "fuse.sshfs"),
        ("/mnt/with blank/journal.db", "cifs"),
        ("/mnt/c/journal.db", "9p"),
        ("/mnt/twice/journal.db", "nfs"),
        ("/mnt/covered/journal.db", None),
    ],
)
def test_the_innermost_and_latest_mount_counts(path, kind):
    assert network_file_system(LOCAL, path) == kind


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p", "ceph", "lustre", "afs"])
def test_shares_are_refused(kind):
    assert network_file_system(f"x / ext4 rw 0 0\nx /share {kind} rw 0 0\n", "/share/state/journal.db") == kind


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "apfs", "fuse.fuseblk", "f2fs"])
def test_disks_are_not(kind):
    assert network_file_system(f"x / ext4 rw 0 0\nx /disk {kind} rw 0 0\n", "/disk/journal.db") is None


def test_a_whole_system_on_9p_is_a_sandbox_and_one_on_nfs_is_not():
    assert network_file_system("none / 9p rw,trans=fd 0 0\n", "/root/journal.db") is None
    assert network_file_system("server:/root / nfs rw 0 0\n", "/root/journal.db") == "nfs"


@pytest.mark.parametrize("text", ["", "\n", "nonsense\n", "a b\n"])
def test_a_table_that_says_nothing_refuses_nothing(text):
    assert network_file_system(text, "/journal.db") is None
