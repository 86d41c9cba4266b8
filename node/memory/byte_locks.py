"""Locks on single bytes of a file between processes; the kernel lets them go when the file is closed or its owner dies.

They belong to an open file, not to a process: two threads that use one descriptor do not exclude each other.
"""

from __future__ import annotations

import fcntl
import os
import struct

_FLOCK = "hhqqi0q"
"""``struct flock``: type, whence, start, length, process (0 for locks of an open file)."""


def lock_alone(descriptor: int, byte: int) -> bool:
    """Takes the byte for this open file alone; False when another holds it."""
    try:
        _change(descriptor, fcntl.F_OFD_SETLK, fcntl.F_WRLCK, byte)
    except BlockingIOError:
        return False
    return True


def lock_shared(descriptor: int, byte: int) -> None:
    """Takes the byte together with others; waits while another has it alone."""
    _change(descriptor, fcntl.F_OFD_SETLKW, fcntl.F_RDLCK, byte)


def unlock(descriptor: int, byte: int) -> None:
    """Gives the byte back."""
    _change(descriptor, fcntl.F_OFD_SETLK, fcntl.F_UNLCK, byte)


def _change(descriptor: int, command: int, kind: int, byte: int) -> None:
    fcntl.fcntl(descriptor, command, struct.pack(_FLOCK, kind, os.SEEK_SET, byte, 1, 0))
