"""Every collective and every scheme of attention on real node processes: how many elements are wrong.

For each number of ranks and each spread of them over hosts the nodes start once and do all calls: every algorithm that
runs on the group, uneven sizes, in and out of place. Spreads:
  one    all ranks in one host, whose switch adds up and multiplies; bytes go through shared memory
  two    over two hosts, the first with one rank more where they do not divide; bytes between hosts go through sockets
  equal  over every larger number of hosts that divides the ranks; only what does something else there than on one host
Prints a line a group and a table of algorithms; exit code 1 when an element is wrong or a run fails, 2 for bad input.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from controller.collectives.call import DTYPES
from controller.collectives.group import Group, only
from controller.collectives.measure.conformance import Suite, names, note, program_of, spread, suite
from controller.errors import UserError, WindtunnelError
from controller.execute.live import run_live
from controller.launch import launch
from controller.topology.loader import load_topology
from controller.topology.schema import Topology
from node.errors import NodeError

SPREADS = ("one", "two", "equal")
MOST_RANKS = 64


def main(arguments: list[str] | None = None) -> int:
    """Runs what the arguments ask for and returns the exit code."""
    options = parsed(arguments)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
    began, document, failures = time.monotonic(), [], []
    refused: dict[str, list[str]] = {}
    stream = sys.stderr if options.json else sys.stdout
    print(f"{'spread':6} {'topology':>13} {'ranks':>5} {'hosts':>5} {'calls':>6} {'elements':>10} {'#wrong':>7} "
          f"{'refused':>7} {'s':>6}", file=stream, flush=True)  # fmt: skip
    try:
        for kind, topology, group in groups(options.ranks, options.spread):
            found = suite(group, options.only, options.dtypes, by_hosts=kind == "equal")
            for title in found.refused:
                refused.setdefault(title, []).append(f"{kind} of {group.world_size}")
            if not found.checks:
                continue
            failure, wall_s = run(topology, found, options.seed)
            if failure:
                failures.append({"ranks": group.world_size, "spread": kind, "failure": failure})
            document += results(kind, topology, found)
            say(kind, topology, found, failure, wall_s, stream)
    except KeyboardInterrupt:
        print("conformance: interrupted", file=sys.stderr)
        return 130
    except UserError as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 2
    wrong = sum(row["nwrong"] or 0 for row in document)
    not_run = sum(row["nwrong"] is None for row in document)
    totals = {
        "calls": len(document), "elements": sum(row["elements"] for row in document if row["nwrong"] is not None),
        "nwrong": wrong, "calls_without_result": not_run, "failures": failures,
    }  # fmt: skip
    if options.json:
        print(json.dumps({"totals": totals, "refused": refused, "results": document}, indent=2))
    else:
        summary(document, refused)
        print(
            f"# {totals['calls']:,} calls, {totals['elements']:,} elements compared, #wrong {wrong}, "
            f"{not_run} calls without result, {time.monotonic() - began:.0f} s"
        )
    if not document:
        print("conformance: nothing that was asked for runs on these groups", file=sys.stderr)
        return 2
    return 1 if wrong or not_run or failures else 0


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """The options, checked; ends the process with 2 where one is wrong."""
    parser = argparse.ArgumentParser(
        prog="scripts/conformance", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ranks", default="1-17", help="numbers of ranks: 1-17 or 1,3,8  [default: 1-17]")
    parser.add_argument("-d", "--dtypes", default="fp32,bf16,int32", help="element types  [default: fp32,bf16,int32]")
    parser.add_argument("--only", help="some of collective/algorithm, for example all_reduce/ring,attention/zigzag")
    parser.add_argument("--spread", default=",".join(SPREADS), help="some of one,two,equal  [default: all]")
    parser.add_argument("--seed", type=int, default=0, help="of the data that is moved  [default: 0]")
    parser.add_argument("--json", action="store_true", help="print JSON; progress goes to standard error")
    options = parser.parse_args(arguments)
    ranks: dict[int, None] = {}
    for part in options.ranks.split(","):
        match = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last <= MOST_RANKS:
            parser.error(f"--ranks {part!r}: write numbers or ranges between 1 and {MOST_RANKS}, for example 1-17")
        ranks |= dict.fromkeys(range(first, last + 1))
    options.ranks = list(ranks)
    if options.seed < 0:
        parser.error(f"--seed {options.seed}: write 0 or more")
    for option, known in (("dtypes", DTYPES), ("spread", SPREADS), ("only", names())):
        text = getattr(options, option)
        chosen = known if text is None else tuple(dict.fromkeys(text.split(",")))
        for each in chosen:
            if each not in known:
                parser.error(f"--{option} {each!r}: there are {', '.join(known)}")
        setattr(options, option, chosen)
    return options


def groups(ranks: list[int], spreads: tuple[str, ...]) -> Iterator[tuple[str, Topology, Group]]:
    """Every group that is asked for, with the topology it is taken from."""
    most = max(ranks)
    if "one" in spreads:
        topology = load_topology("dgx_h100", [f"gpu.count={most}"])
        for size in ranks:
            yield "one", topology, spread(topology, size, 1)
    if "two" in spreads and most > 1:
        half = (most + 1) // 2
        topology = load_topology("two_dgx_h100", [f"gpu_a.count={half}", f"gpu_b.count={half}"])
        for size in ranks:
            if size > 1:
                yield "two", topology, spread(topology, size, 2)
    if "equal" in spreads and most > 2:
        topology = load_topology(
            "h100_rail", [f"fabric.hosts_per_pod={most}", f"fabric.host.devices.gpu.count={max(1, most // 3)}"]
        )
        for size in ranks:
            for hosts in range(3, size + 1):
                if size % hosts == 0:
                    yield "equal", topology, spread(topology, size, hosts)


def run(topology: Topology, found: Suite, seed: int) -> tuple[str, float]:
    """Starts the nodes of a group, does all its calls and says what failed, if anything did, and how long it took."""
    began = time.monotonic()
    bare = only(topology, found.group)
    failure = ""
    try:
        with launch(bare) as cluster:
            outcome = run_live(bare, [program_of(found, seed)], cluster)
        note(found, outcome)
        if not outcome.ok:
            failure = str(outcome.ended)
    except UserError:
        raise
    except (WindtunnelError, NodeError) as error:
        failure = str(error)
    return failure, time.monotonic() - began


def results(kind: str, topology: Topology, found: Suite) -> list[dict[str, Any]]:
    """A row for each call."""
    hosts = [len(ranks) for ranks in found.group.by_host()]
    return [
        {
            "spread": kind, "topology": topology.name, "ranks": found.group.world_size, "ranks_of_hosts": hosts,
            "algorithm": check.name, "type": check.dtype, "count": check.count, "in_place": check.in_place,
            "pieces": check.pieces, "elements": check.elements, "nwrong": check.entry.wrong,
        }
        for check in found.checks
    ]  # fmt: skip


def say(kind: str, topology: Topology, found: Suite, failure: str, wall_s: float, stream: TextIO) -> None:
    """One line a group."""
    wrong = sum(check.entry.wrong or 0 for check in found.checks)
    elements = sum(check.elements for check in found.checks if check.entry.wrong is not None)
    print(
        f"{kind:6} {topology.name:>13} {found.group.world_size:5} {len(found.group.by_host()):5} "
        f"{len(found.checks):6} {elements:10,} {wrong:7} {len(found.refused):7} {wall_s:6.1f}"
        + (f"  FAILED: {failure}" if failure else ""),
        file=stream, flush=True,
    )  # fmt: skip


def summary(document: list[dict[str, Any]], refused: dict[str, list[str]]) -> None:
    """A line an algorithm, and which of them do not run where."""
    print(f"\n{'algorithm':34} {'ranks':>8} {'calls':>6} {'elements':>11} {'#wrong':>7}")
    for name in names():
        rows = [row for row in document if row["algorithm"] == name and row["nwrong"] is not None]
        if rows:
            sizes = [row["ranks"] for row in rows]
            print(
                f"{name:34} {f'{min(sizes)}-{max(sizes)}':>8} {len(rows):6} "
                f"{sum(row['elements'] for row in rows):11,} {sum(row['nwrong'] for row in rows):7}"
            )
    alike: dict[str, list[str]] = {}
    for title, where in refused.items():
        name, _, dtype = title.partition(", ")
        alike.setdefault(f"{name} does not run on {len(where)} groups ({', '.join(where)})", []).append(dtype)
    for text, dtypes in alike.items():
        print(f"# {text}: {', '.join(dtypes)}")


if __name__ == "__main__":
    sys.exit(main())
