"""The file system of a directory, read from the mount table."""

from __future__ import annotations

import pytest

from gateway.spool.disk import find_filesystem, is_network

_MOUNTS = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw,discard
30 27 0:40 / /srv rw - xfs /dev/vdb rw
31 30 0:41 / /srv/mail rw propagate_from:2 - nfs4 server:/mail rw,vers=4.2
32 27 0:42 / /mnt/two\040words rw - cifs //host/share rw
33 27 0:43 / /over rw - ext4 /dev/vdc rw
34 33 0:44 / /over rw - fuse.sshfs host: rw
damaged
35 27 0:45 / /cut rw -
36 27"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/waypost/0", "ext4"),
        ("/srv", "xfs"),
        ("/srv/mailbox", "xfs"),
        ("/srv/mail", "nfs4"),
        ("/srv/mail/spool/0", "nfs4"),
        ("/mnt/two words/spool", "cifs"),
        ("/over/spool", "fuse.sshfs"),
        ("/cut/spool", "ext4"),
        ("/", "ext4"),
    ],
)
def test_longest_mount_point_decides(path: str, kind: str) -> None:
    assert find_filesystem(path, _MOUNTS) == kind


def test_empty_table_says_nothing() -> None:
    assert find_filesystem("/spool", "") == ""


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse.sshfs", "fuse.rclone"])
def test_network(kind: str) -> None:
    assert is_network(kind)


@pytest.mark.parametrize(
    "kind", ["ext4", "xfs", "btrfs", "zfs", "overlay", "tmpfs", "fuse.fuse-overlayfs", "fuseblk", ""]
)
def test_local(kind: str) -> None:
    assert not is_network(kind)
