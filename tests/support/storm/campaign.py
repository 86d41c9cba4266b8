"""Goes through a schedule: starts, strikes, and judges what came of it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from time import monotonic

import psutil

from tests.support.storm.drives import power_cut
from tests.support.storm.live_run import PYTHON, REPOSITORY, STEPS, LiveRun, new_folder, start
from tests.support.storm.ray_nodes import ray_cluster
from tests.support.storm.schedule import Entry
from tests.support.storm.strikes import GONE_S, KINDS, SURVIVED_S, Kind
from tests.support.storm.tally import Verdict

START_S = 240.0
"""How long a run may take until it is struck, on a machine that has much else to do [s]."""
CLIENT_S = 60.0


def run_entry(entry: Entry) -> Verdict:
    """Runs one entry; leaves nothing behind, whatever comes of it."""
    if entry.kind == "power_cut":
        return power_cut(entry)
    if entry.way == "ray" and find_spec("ray") is None:
        return Verdict(entry.index, entry.kind, note="Ray is not installed", missed=True)
    kind = KINDS[entry.kind]
    with ExitStack() as stack:
        folder, address = new_folder(), ""
        if entry.way == "ray":
            address = stack.enter_context(ray_cluster(folder))
        client = stack.enter_context(_stranger(entry, kind))
        run = start(entry.work, entry.way, folder, address)
        try:
            return _struck(run, entry, kind, client)
        finally:
            run.remove()


def _struck(run: LiveRun, entry: Entry, kind: Kind, client: subprocess.Popen[str] | None) -> Verdict:
    if not run.reach(int(entry.progress * STEPS[entry.work]), monotonic() + START_S):
        if run.process.poll() is None:
            return Verdict(entry.index, entry.kind, frozenset({"hangs"}), "not so far in time, before any strike")
        return _missed(run, entry, "the run ended before the strike")
    done = run.steps()
    try:
        if client is not None:
            told = _tell(run, entry, client)
        else:
            assert kind.strike is not None
            kind.strike(run, entry)
            told = ""
    except (psutil.NoSuchProcess, ProcessLookupError):
        return _missed(run, entry, "the node had ended before the strike")
    struck_at = monotonic()
    faults, notes = set[str](), [f"after {done} of {STEPS[entry.work]} steps"]
    if not run.end(struck_at + kind.bound_s):
        faults.add("hangs")
        notes.append(f"no end {kind.bound_s:g} s after the strike; last: {run.lines[-1:]}")
        return Verdict(entry.index, entry.kind, frozenset(faults), "; ".join(notes))
    took_s = monotonic() - struck_at
    notes.append(f"ended {took_s:.1f} s after it")
    if client is not None:
        told = _heard(client)
        notes.append(told)
    found, why = judge(kind, entry.victim, run.process.returncode, run.lines, run.answer())
    if '"wrong"' in told:
        found.add("wrong")
    faults |= found
    notes += [why] if why else []
    if traced := [name for name, text in run.logs.items() if "Traceback" in text]:
        faults.add("crashes")
        notes.append(f"traceback in {traced}: {run.logs[traced[0]].strip().splitlines()[-1]}")
    if left := run.left(GONE_S):
        faults.add("hangs")
        notes.append(f"left {left}")
    late = kind.outcome == "dies" and run.process.returncode == 0
    idle = client is not None and (told == "{}" or "gave up" in told)
    return Verdict(entry.index, entry.kind, frozenset(faults), "; ".join(notes), missed=not faults and (late or idle))


def judge(kind: Kind, victim: str, code: int, lines: list[str], answer: dict[str, object]) -> tuple[set[str], str]:
    """What is wrong with how a run ended, and the words for it."""
    last = next((line for line in reversed(lines) if line.strip()), "")
    if any("Traceback" in line for line in lines):
        return {"crashes"}, f"traceback: {last}"
    if kind.outcome == "killed":
        return set(), ""
    if code not in (0, 1, 2):
        return {"crashes"}, f"exit code {code}: {last}"
    if code == 0:  # also where it should have died: struck when nothing more was asked of the node
        return (set(), "") if equals_plain(answer) else ({"wrong"}, "exit code 0, but not the values of a plain run")
    if kind.outcome == "survives":
        return {"crashes"}, f"exit code {code}: {last}"
    if kind.outcome == "either":
        return (set(), last) if victim in last or "/flash" in last else ({"wrong"}, f"names no drive or folder: {last}")
    return (set(), last) if victim in last else ({"wrong"}, f"does not name {victim}: {last}")


def equals_plain(answer: dict[str, object]) -> bool:
    """Whether the command's own comparison with a plain run says that all is equal."""
    if "values_equal" in answer:
        return answer["values_equal"] is True
    return "tokens_equal" in answer and answer["tokens_equal"] == answer["tokens_compared"]


def _missed(run: LiveRun, entry: Entry, why: str) -> Verdict:
    """Nothing was struck; that the run itself ended well must hold all the same."""
    if not run.end(monotonic() + SURVIVED_S):
        return Verdict(entry.index, entry.kind, frozenset({"hangs"}), why)
    bad = run.process.returncode != 0
    note = f"{why}; exit code {run.process.returncode}; last: {run.lines[-1:]}"
    return Verdict(entry.index, entry.kind, frozenset({"crashes"} if bad else ()), note, missed=not bad)


@contextmanager
def _stranger(entry: Entry, kind: Kind) -> Iterator[subprocess.Popen[str] | None]:
    """The client that strikes, ready to do so; None where none is asked for."""
    if kind.strike is not None:
        yield None
        return
    words = [PYTHON, "-m", "tests.support.storm.client", entry.kind, str(entry.seed)]
    environment = {**os.environ, "GRPC_VERBOSITY": "ERROR"}
    client = subprocess.Popen(
        words,
        cwd=REPOSITORY,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert client.stdout is not None
        client.stdout.readline()
        yield client
    finally:
        client.kill()
        client.communicate()


def _tell(run: LiveRun, entry: Entry, client: subprocess.Popen[str]) -> str:
    assert client.stdin is not None
    target = run.target(entry.victim)
    if not target:
        raise ProcessLookupError
    client.stdin.write(f"{entry.victim} {target}\n")
    client.stdin.flush()
    return ""


def _heard(client: subprocess.Popen[str]) -> str:
    """What the client counted; "{}" when it died without a word."""
    said, _ = client.communicate(timeout=CLIENT_S)
    return said.strip() or "{}"
