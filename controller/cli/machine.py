"""What the machine around a command lacks: closed streams, odd locales, full disks and memory that has run out."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from controller.errors import UserError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_OTHERS = (errno.EBADF, errno.EIO, errno.EROFS, errno.EFBIG, errno.EMFILE, errno.ENFILE)
_NO_MEMORY = "Cannot allocate memory"


def open_standard_streams() -> None:
    """Gives closed standard streams to /dev/null, so that no file that is opened later is taken for one of them."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number is this one
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(descriptor, "w", encoding="utf-8", errors="backslashreplace", closefd=False))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a locale that lacks a letter ends no run
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115


def forget_output() -> None:
    """Sends what is left of the output nowhere: the interpreter must not complain about flushing it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def utf8_words(words: Sequence[str]) -> list[str]:
    """The words of the command line as UTF-8, whatever the locale made of them.

    Raises:
        UserError: one is not UTF-8.
    """
    return [_utf8(number, word) for number, word in enumerate(words, 1)]


def _utf8(number: int, word: str) -> str:
    if not any("\ud800" <= letter <= "\udfff" for letter in word):
        return word
    try:
        return os.fsencode(word).decode("utf-8")
    except UnicodeError:
        raise UserError(f"word {number} of the command line, {word!a:.200}, is not UTF-8; write it in UTF-8") from None


def exhausted(error: MemoryError | OSError | ImportError) -> str | None:
    """What this machine has run out of, for people; None when it is something else."""
    if isinstance(error, MemoryError) or _NO_MEMORY in str(error) or getattr(error, "errno", None) == errno.ENOMEM:
        return "out of memory of this machine; raise `ulimit -v`, free memory or make the run smaller"
    if not isinstance(error, OSError) or error.errno not in (*_FULL, *_OTHERS):
        return None
    if not error.filename:
        return f"the output cannot be written: {error.strerror}; give it a file or a pipe that takes it"
    from controller.report.files import lack

    return f"{error.filename}: {lack(Path(os.fsdecode(error.filename)), error)}"
