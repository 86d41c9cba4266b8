"""The command: strikes live runs for a while, and tells what they did not stand."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Iterator
from time import monotonic

from tests.support.storm.campaign import run_entry
from tests.support.storm.schedule import KINDS, Entry, entry, schedule
from tests.support.storm.tally import Verdict, exit_code, rows, table


def main() -> int:
    """Runs the campaign that the words ask for; 1 when a count is not zero, 130 when it was interrupted."""
    parser = argparse.ArgumentParser(prog="scripts/storm", description=__doc__)
    parser.add_argument("--seed", type=int, required=True, help="of the schedule; the same seed strikes the same")
    parser.add_argument("--minutes", type=float, default=8.0, help="an entry starts before these are over; default 8")
    parser.add_argument("--only", default="", metavar="K", help="one entry by its number, or one kind by its name")
    parser.add_argument("--json", action="store_true", help="the table and every verdict as JSON")
    chosen = parser.parse_args()
    if chosen.seed < 0 or not chosen.minutes > 0:
        parser.error("the seed is 0 or more and the minutes more than 0; give other numbers")
    if chosen.only and not chosen.only.isdecimal() and chosen.only not in KINDS:
        parser.error(f"--only {chosen.only}: neither the number of an entry nor one of {', '.join(KINDS)}; give one")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends in order, like Ctrl-C
    verdicts: list[Verdict] = []
    interrupted = False
    until = monotonic() + 60.0 * chosen.minutes
    try:
        for one in _entries(chosen.seed, chosen.only):
            if monotonic() > until:
                break
            _say(f"{one.index}: {one.kind} of {one.victim} in {one.work} at {one.progress:.0%}, {one.way}")
            verdicts.append(verdict := run_entry(one))
            said = ", ".join(sorted(verdict.faults)) or ("missed" if verdict.missed else "held")
            _say(f"   {said}; {verdict.note}")
            if verdict.faults:
                _say(f"   again: scripts/storm --seed {chosen.seed} --only {one.index}")
    except KeyboardInterrupt:
        interrupted = True
        _say("interrupted; so far:")
    if chosen.json:
        print(json.dumps({"table": rows(verdicts), "verdicts": [_as_data(one) for one in verdicts]}, indent=2))
    else:
        print(table(verdicts))
        if missed := sum(one.missed for one in verdicts):
            print(f"\n{missed} missed: the run was over before it could be struck; these are no tries")
    return 130 if interrupted else exit_code(verdicts)


def _entries(seed: int, only: str) -> Iterator[Entry]:
    if only.isdecimal():
        yield entry(seed, int(only))
        return
    for one in schedule(seed):
        if only in ("", one.kind):
            yield one


def _as_data(verdict: Verdict) -> dict[str, object]:
    return {
        "entry": verdict.index,
        "kind": verdict.kind,
        "faults": sorted(verdict.faults),
        "missed": verdict.missed,
        "note": verdict.note,
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
