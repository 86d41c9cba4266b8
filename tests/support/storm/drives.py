"""Two drives that commit together while something kills them: what was acknowledged is there after a restart.

As a program, ``write FLASH`` commits step after step, saying "step N" once N is acknowledged, and ``look FLASH
ACKNOWLEDGED`` starts the drives again and prints which step each holds, null for none.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from threading import Event
from time import monotonic

import numpy as np
import psutil

from controller.errors import WindtunnelError
from controller.launch import Cluster, launch
from controller.topology.loader import load_topology
from node.errors import NodeError
from tests.support.storm.live_run import NODE_TIMEOUT_S, PYTHON, LiveRun
from tests.support.storm.schedule import DRIVES, Entry
from tests.support.storm.tally import Verdict

NAMES = DRIVES["decode"]
SIZE = 100_000
STEPS = 12
"""Within how many steps a strike comes."""
COMMIT_S = 0.05
"""About how long a commit takes: the strike falls somewhere within two of them [s]."""
START_S, END_S = 90.0, 60.0


def state(step: int, drive: int) -> np.ndarray:
    """What a drive holds after a step."""
    return np.random.default_rng([step, drive]).integers(0, 256, SIZE, np.uint8)


def power_cut(entry: Entry) -> Verdict:
    """Kills one or both drives, or the controller, at a random moment of a commit, and looks at what is left."""
    flash = Path(tempfile.mkdtemp(prefix="wf-", dir="/tmp"))
    try:
        acknowledged, faults, notes = _strike(entry, flash)
        if acknowledged:
            found, more = _look(flash, acknowledged)
            faults |= more
            notes.append(f"acknowledged {acknowledged}, found {found}")
    finally:
        shutil.rmtree(flash, ignore_errors=True)
    return Verdict(entry.index, entry.kind, frozenset(faults), "; ".join(notes), missed=not acknowledged and not faults)


def _strike(entry: Entry, flash: Path) -> tuple[int, set[str], list[str]]:
    """The last step that was acknowledged before the strike ended the writing, and what was wrong until then."""
    run, faults, notes = LiveRun([PYTHON, "-m", "tests.support.storm.drives", "write", str(flash)]), set(), []
    run_until = monotonic() + START_S
    try:
        first = 1 + int(entry.progress * STEPS)
        if not run.until(lambda: _step(run) >= first, run_until):
            return 0, {"hangs" if run.process.poll() is None else "crashes"}, [f"no step {first}: {run.lines[-1:]}"]
        nodes = run.nodes()
        Event().wait(2 * COMMIT_S * (entry.seed % 1000) / 1000)
        if entry.victim == "controller":
            run.process.kill()
        for name in NAMES:
            if entry.victim in (name, "both"):
                psutil.Process(nodes[name]).kill()
        if not run.end(monotonic() + END_S):
            faults.add("hangs")
            notes.append(f"writing goes on {END_S:g} s after the strike")
        if any("Traceback" in line for line in run.lines):
            faults.add("crashes")
            notes.append(f"traceback: {run.lines[-1]}")
        if left := run.left(END_S / 2):
            faults.add("hangs")
            notes.append(f"left {left}")
        return _step(run), faults, notes
    finally:
        run.remove()


def _look(flash: Path, acknowledged: int) -> tuple[dict[str, int | None], set[str]]:
    """Which step each drive holds after a restart, and what is wrong with that."""
    run = LiveRun([PYTHON, "-m", "tests.support.storm.drives", "look", str(flash), str(acknowledged)])
    try:
        if not run.end(monotonic() + START_S):
            return {}, {"hangs"}
        found = run.answer()
    finally:
        run.remove()
    if set(found) != set(NAMES):
        print("\n".join(run.lines), file=sys.stderr)
        return found, {"crashes"}
    return found, judge(list(found.values()), acknowledged)


def judge(found: list[int | None], acknowledged: int) -> set[str]:
    """What is wrong with the steps that the drives hold: the acknowledged one or the next, and all the same."""
    faults = set()
    if any(step is not None and step < acknowledged for step in found):
        faults.add("lost")
    if len(set(found)) > 1 or any(step is None or step > acknowledged + 1 for step in found):
        faults.add("wrong")
    return faults


def _step(run: LiveRun) -> int:
    """The last step that was acknowledged; 0 before the first."""
    return max((int(line.split()[1]) for line in list(run.lines) if line.startswith("step ")), default=0)


@contextmanager
def _drives(flash: Path) -> Iterator[Cluster]:
    whole = load_topology("a6000_2csd")
    devices = {name: device for name, device in whole.devices.items() if name in NAMES}
    links = tuple(link for link in whole.links if {link.a.vertex, link.b.vertex} & set(NAMES))
    with launch(
        replace(whole, devices=devices, links=links), flash_folder=flash, node_timeout_s=NODE_TIMEOUT_S
    ) as cluster:
        yield cluster


def write(flash: Path) -> None:
    """Commits step after step until something breaks."""
    with _drives(flash) as cluster:
        clients = [cluster.clients[name] for name in NAMES]
        for client in clients:
            client.allocate("state", "flash", "uint8", (SIZE,))
        for step in count(1):
            for number, client in enumerate(clients):
                client.write("state", state(step, number))
            cluster.commit()
            print(f"step {step}", file=sys.stderr, flush=True)


def look(flash: Path, acknowledged: int) -> None:
    """Prints which step each drive holds."""
    steps = (*range(acknowledged + 8, -1, -1),)
    with _drives(flash) as cluster:
        found = {}
        for number, name in enumerate(NAMES):
            values = cluster.clients[name].read("state")
            found[name] = next((step for step in steps if np.array_equal(values, state(step, number))), None)
    print(json.dumps(found))


def main() -> int:
    """Does what the words say; a run that was struck ends with one line."""
    try:
        if sys.argv[1] == "write":
            write(Path(sys.argv[2]))
        else:
            look(Path(sys.argv[2]), int(sys.argv[3]))
    except (WindtunnelError, NodeError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
