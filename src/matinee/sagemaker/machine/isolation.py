"""A process's own view of the machine: ``/opt/ml`` is its folder, ``/etc/hosts`` its job's hosts.

Containers know their folder as ``/opt/ml``. Linux lets a process have a mount namespace of its own,
as root or through a user namespace (user_namespaces(7)), in which that path is another folder than
everyone else's; a network namespace takes its network away. A kernel or a sandbox may forbid it
(``compute.can_isolate``). This hides nothing and protects nothing: it makes paths mean what they
mean in a container.

The host process of a job (``host.py``) imports this module, so it needs the standard library alone.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Sequence
from pathlib import Path

BASE = Path("/opt/ml")
HOSTS = Path("/etc/hosts")

# linux/sched.h, linux/mount.h, linux/prctl.h
_NEW_MOUNTS, _NEW_USER, _NEW_NETWORK = 0x00020000, 0x10000000, 0x40000000
_BIND, _MOVE, _RECURSIVE, _SLAVE = 1 << 12, 1 << 13, 1 << 14, 1 << 19
_SET_CHILD_SUBREAPER = 36
# linux/sockios.h, linux/if.h
_GET_FLAGS, _SET_FLAGS, _IS_UP = 0x8913, 0x8914, 1

_libc = ctypes.CDLL(None, use_errno=True)


def enter(mounts: Sequence[tuple[Path, Path]], *, scratch: Path, has_network: bool) -> None:
    """Give this process, and those it starts from now on, a view of their own.

    Parameters
    ----------
    mounts
        Pairs of what is there (a folder or a file), and the path it gets.
    scratch
        An empty folder to build on, where a path's own folder has to be added to.
    has_network
        Whether the network stays.

    Raises
    ------
    OSError
        The kernel or a sandbox does not allow it.
    """
    user, group = os.getuid(), os.getgid()
    flags = _NEW_MOUNTS | (0 if has_network else _NEW_NETWORK)
    if user != 0:
        flags |= _NEW_USER
    _must("unshare", _libc.unshare(flags))
    if user != 0:
        # The same user and group inside: files keep their owner, and exec gives up what the
        # namespace allowed.
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{user} {user} 1")
        _write("/proc/self/gid_map", f"{group} {group} 1")
    if not has_network:
        _raise_loopback()
    # What others mount from now on is seen here, what is mounted here is not seen elsewhere.
    _mount(Path("none"), Path("/"), _RECURSIVE | _SLAVE)
    for source, target in mounts:
        if not target.exists():
            _add(target, scratch)
        _mount(source, target, _BIND | _RECURSIVE)


def _raise_loopback() -> None:
    """Let the process talk to itself: a new network has its own loopback, which is down."""
    # Not every host process needs it, and each has to start soon.
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(any_socket, _GET_FLAGS, request))[1]
        request = struct.pack("16sh14x", b"lo", flags | _IS_UP)
        fcntl.ioctl(any_socket, _SET_FLAGS, request)


def _add(target: Path, scratch: Path) -> None:
    """Let a folder that is not there be there, with all that stands beside it."""
    _mount(Path("tmpfs"), scratch, 0, b"tmpfs", b"mode=755")
    for entry in target.parent.iterdir():
        path = scratch / entry.name
        if entry.is_symlink():
            path.symlink_to(entry.readlink())
            continue
        if entry.is_dir():
            path.mkdir()
        else:
            path.touch()
        _mount(entry, path, _BIND | _RECURSIVE)
    (scratch / target.name).mkdir()
    _mount(scratch, target.parent, _MOVE)


def adopt_orphans() -> None:
    """Become the parent of whatever this process's descendants leave behind."""
    _must("prctl", _libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0))


def _mount(
    source: Path, target: Path, flags: int, kind: bytes | None = None, options: bytes | None = None
) -> None:
    paths = os.fsencode(source), os.fsencode(target)
    _must(f"mount {source} at {target}", _libc.mount(*paths, kind, ctypes.c_ulong(flags), options))


def _must(what: str, result: int) -> None:
    if result != 0:
        number = ctypes.get_errno() or errno.EPERM
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _write(path: str, text: str) -> None:
    # These files take one write, and no O_CREAT or O_TRUNC.
    file = os.open(path, os.O_WRONLY)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)
