"""NCCL RAS: how many operations each rank has entered in each communicator, and whose counts differ.

Source: NCCL, src/ras; the answer of port 28028 as JSON and as text for people. A rank that gave no sign of life is
missing from its communicators.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from controller.diagnosis.telemetry import JobStarted, OperationRecords

FUNCTIONS = {"all_reduce": "AllReduce", "all_to_all": "AlltoAll", "send_recv": "SendRecv"}


def ras_status(job: JobStarted, records: Iterable[OperationRecords], missing: Collection[int] = ()) -> dict[str, Any]:
    """What ``VERBOSE STATUS`` says of a job.

    Args:
        job: the ranks and communicators.
        records: all operations so far.
        missing: ranks that give no sign of life.
    """
    counts: dict[tuple[int, int], dict[str, int]] = {}
    for event in records:
        for rank, communicator in zip(event.ranks.tolist(), event.communicator.tolist(), strict=True):
            own = counts.setdefault((communicator, rank), {})
            own[FUNCTIONS[event.what]] = own.get(FUNCTIONS[event.what], 0) + 1
    found = []
    for number, group in enumerate(job.communicators):
        ranks: list[dict[str, Any]] = [
            {
                "rank": place, "device": job.devices[rank], "hostname": job.hosts[rank],
                "opCounts": counts.get((number, rank), {}), "initState": 0, "asyncError": 0, "finalizeCalled": False,
                "destroyFlag": False, "abortFlag": False,
            }
            for place, rank in enumerate(group.ranks) if rank not in missing
        ]  # fmt: skip
        differ = len({tuple(sorted(each["opCounts"].items())) for each in ranks}) > 1
        lost = [place for place, rank in enumerate(group.ranks) if rank in missing]
        found.append(
            {
                "name": group.name, "size": len(group.ranks), "status": "RUNNING",
                "errors": "INCOMPLETE" if lost else "MISMATCH" if differ else "OK", "missing": lost, "ranks": ranks,
            }
        )  # fmt: skip
    return {"communicators": found}


def ras_text(job: JobStarted, status: Mapping[str, Any]) -> str:
    """The same for people, as a client of the port prints it: summary, communicators by group, and errors.

    Args:
        job: the ranks.
        status: from `ras_status`.
    """
    hosts = Counter(job.hosts)
    sizes = sorted(set(hosts.values()))
    per_node = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]}-{sizes[-1]}"
    lines = [
        "Job summary", "===========", "",
        "  Nodes  Processes         GPUs  Processes     GPUs",
        "(total)   per node  per process    (total)  (total)",
        f"{len(hosts):>7}  {per_node:>9}  {1:>11}  {len(job.hosts):>9}  {len(job.hosts):>7}", "",
        "Communicators...", "================", "",
        "Group     Comms     Nodes     Ranks     Ranks     Ranks    Status  Errors",
        "    #  in group  per comm  per node  per comm  in group",
    ]  # fmt: skip
    errors: list[str] = []
    for number, comms in enumerate(_groups(job, status)):
        first = comms[0]
        nodes = len({job.hosts[rank] for rank in _ranks(job, first["name"])})
        found = [each["errors"] for each in comms]
        worst = next((kind for kind in ("INCOMPLETE", "MISMATCH") if kind in found), "OK")
        lines.append(
            f"{number:>5}  {len(comms):>8}  {nodes:>8}  {first['size'] // nodes:>8}  {first['size']:>8}  "
            f"{first['size'] * len(comms):>8}  {first['status']:>8}  {worst:>6}"
        )
        for place, each in enumerate(comms):
            if each["errors"] != "OK":
                errors += _error_lines(job, f"#{number}-{place} ({each['name']})", each)
    if errors:
        lines += ["", "Errors", "======", "", *errors]
    return "\n".join(lines) + "\n"


def _groups(job: JobStarted, status: Mapping[str, Any]) -> list[list[Mapping[str, Any]]]:
    """Communicators of one size on as many nodes, in order."""
    found: dict[tuple[int, int], list[Mapping[str, Any]]] = {}
    for each in status["communicators"]:
        nodes = len({job.hosts[rank] for rank in _ranks(job, each["name"])})
        found.setdefault((each["size"], nodes), []).append(each)
    return [found[key] for key in sorted(found, reverse=True)]


def _ranks(job: JobStarted, name: str) -> tuple[int, ...]:
    return next(group.ranks for group in job.communicators if group.name == name)


def _error_lines(job: JobStarted, name: str, comm: Mapping[str, Any]) -> list[str]:
    ranks = _ranks(job, comm["name"])

    def where(place: int) -> str:
        return f"      Rank {place} -- {job.devices[ranks[place]]} on node {job.hosts[ranks[place]]}"

    lines = []
    if comm["missing"]:
        lines += [f"  {name} INCOMPLETE", f"    Missing communicator data from {len(comm['missing'])} ranks"]
        lines += [where(place) for place in comm["missing"]]
    counts: dict[int, list[int]] = {}
    for each in comm["ranks"]:
        counts.setdefault(sum(each["opCounts"].values()), []).append(each["rank"])
    if len(counts) > 1:
        lines += [f"  {name} MISMATCH", "    Communicator ranks have different collective operation counts"]
        for count in sorted(counts, key=lambda count: (-len(counts[count]), count)):
            lines.append(f"    {len(counts[count])} ranks have launched up to operation {count}")
        few = min(counts, key=lambda count: (len(counts[count]), count))
        lines += [where(place) for place in counts[few]]
    return [*lines, ""]
