"""What an entry does to a live run, a function for each kind, and what must come of it."""

from __future__ import annotations

import resource
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Thread
from typing import Literal

import psutil

from tests.support.storm.live_run import LiveRun
from tests.support.storm.schedule import Entry

SHORT_STOP_S = 0.7
SLOW_S, SLOW_TURN_S = 3.0, 0.1
FILE_LIMIT_BYTES = 4096

Strike = Callable[[LiveRun, Entry], None]
Outcome = Literal["survives", "dies", "either", "killed"]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of disturbance.

    Attributes:
        strike: does it and returns at once; None for what a client does (`client.py`).
        outcome: what the run must do then.
        bound_s: how long it may take from the strike to the end [s].
    """

    strike: Strike | None
    outcome: Outcome
    bound_s: float


def _kill_node(run: LiveRun, entry: Entry) -> None:
    _victim(run, entry).kill()


def _stop_long(run: LiveRun, entry: Entry) -> None:
    _victim(run, entry).suspend()


def _stop_short(run: LiveRun, entry: Entry) -> None:
    _turns(_victim(run, entry), SHORT_STOP_S, turns=1)


def _slow_drive(run: LiveRun, entry: Entry) -> None:
    """Drive in slow motion: its node stands still half of the time."""
    _turns(_victim(run, entry), SLOW_TURN_S, turns=int(SLOW_S / SLOW_TURN_S / 2))


def _file_limit(run: LiveRun, entry: Entry) -> None:
    """No file of the drive's node may grow beyond a page any more, as on a full disk."""
    resource.prlimit(_victim(run, entry).pid, resource.RLIMIT_FSIZE, (FILE_LIMIT_BYTES, FILE_LIMIT_BYTES))


def _kill_controller(run: LiveRun, entry: Entry) -> None:
    run.process.kill()


def _victim(run: LiveRun, entry: Entry) -> psutil.Process:
    """The process of the node that is struck; raises NoSuchProcess when the run has just ended."""
    pid = run.nodes().get(entry.victim)
    if pid is None:
        raise psutil.NoSuchProcess(0, entry.victim)
    return psutil.Process(pid)


def _turns(process: psutil.Process, turn_s: float, turns: int) -> None:
    """Stops a process and lets it go on, in a thread of its own; the first stop is there on return."""
    process.suspend()

    def go_on() -> None:
        try:
            for turn in range(turns):
                if turn:
                    process.suspend()
                Event().wait(turn_s)
                process.resume()
                Event().wait(turn_s)
        except psutil.NoSuchProcess:  # the run has ended
            pass

    Thread(target=go_on, daemon=True).start()


SURVIVED_S, ENDED_S, GONE_S = 240.0, 75.0, 30.0
"""Bounds for machines that have much else to do; a node may take 60 s to start [s]."""

KINDS: dict[str, Kind] = {
    "kill_node": Kind(_kill_node, "dies", ENDED_S),
    "stop_short": Kind(_stop_short, "survives", SURVIVED_S),
    "stop_long": Kind(_stop_long, "dies", ENDED_S),
    "file_limit": Kind(_file_limit, "either", SURVIVED_S),
    "slow_drive": Kind(_slow_drive, "survives", SURVIVED_S),
    "cut_stream": Kind(None, "survives", SURVIVED_S),
    "kill_controller": Kind(_kill_controller, "killed", GONE_S),
    "flood": Kind(None, "survives", SURVIVED_S),
    "garbage": Kind(None, "survives", SURVIVED_S),
}
