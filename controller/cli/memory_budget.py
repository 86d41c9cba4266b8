"""The memory that a virtual command may take: it ends with a sentence before the machine runs out.

What a plan takes depends on strategy, collective and topology alike, so it is measured while it grows, not guessed:
a thread looks at the process every quarter of a second and interrupts the command as Ctrl-C does, but by a signal of
its own: a shell starts background jobs with SIGINT ignored.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

from controller.errors import UserError
from node.errors import BadQuantity

VARIABLE = "WINDTUNNEL_MEMORY_BUDGET"
SIGNAL = signal.SIGUSR2
INTERVAL_S = 0.25
"""Between two looks; a process that fills memory at 2 GB/s is 0.5 GB late at most."""


class _OverBudget(KeyboardInterrupt):
    """Unwinds the command as Ctrl-C does, since what cleans up after one has to clean up after the other."""


class MemoryBudgetExceeded(UserError):
    """What was asked for takes more memory than the command may take."""


def budget_bytes(text: str | None) -> int:
    """The budget that `text` gives, without one half of the machine's memory [bytes].

    Raises:
        UserError: it is no amount of memory above 0.
    """
    if text is None:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    from node.hardware.units import parse  # the command line starts without it

    try:
        amount = parse(text, "bytes")
    except BadQuantity as error:
        raise UserError(f"--memory-budget: {error}") from None
    if amount <= 0:
        raise UserError(f"--memory-budget is {text}; it must be more than 0; write one like '8 GiB'")
    return int(amount)


def check_room(what: str, count: int, item_bytes: int, fix: str) -> None:
    """Refuses what is known to outgrow the budget of the command that runs, before it is built.

    Args:
        what: the things that are counted.
        count: of them.
        item_bytes: least memory of one, measured [bytes].
        fix: the way out.

    Raises:
        MemoryBudgetExceeded: `count` of them take more than the budget.
    """
    context = click.get_current_context(silent=True)
    limit = budget_bytes(None if context is None else context.find_root().params.get("memory_budget"))
    if count * item_bytes > limit:
        raise MemoryBudgetExceeded(
            f"{count:,} {what} take {count * item_bytes / 2**30:.3g} GiB at {item_bytes} B each; the limit is "
            f"{limit / 2**30:.3g} GiB; {fix}, or raise the limit with --memory-budget"
        )


@contextmanager
def memory_budget(limit: int) -> Iterator[None]:
    """Interrupts the body once this process holds more than `limit` bytes of its own; for the main thread.

    Raises:
        MemoryBudgetExceeded: it did; says how much it held.
    """
    done, held = threading.Event(), []

    def watch() -> None:
        while not done.wait(INTERVAL_S):
            if (now := held_bytes()) > limit:
                held.append(now)
                # A signal wakes a main thread that waits; interrupt_main only marks it.
                signal.pthread_kill(threading.main_thread().ident or 0, SIGNAL)
                return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        if not done.is_set():
            raise _OverBudget

    before = signal.signal(SIGNAL, interrupt)
    watcher = threading.Thread(target=watch, name="memory budget", daemon=True)
    watcher.start()
    try:
        yield
    except _OverBudget:
        raise MemoryBudgetExceeded(
            f"this takes more memory than the command may take: it held {held[0] / 2**30:.3g} GiB when it was stopped, "
            f"the limit is {limit / 2**30:.3g} GiB; ask for less (fewer ranks, steps, tokens or copies) or raise the "
            f"limit: windtunnel --memory-budget '{max(1, 2 * limit >> 30)} GiB' ..., or {VARIABLE}"
        ) from None
    finally:
        done.set()
        watcher.join()
        signal.signal(SIGNAL, before)


def held_bytes() -> int:
    """Memory of this process that it shares with no file or segment [bytes]."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0
