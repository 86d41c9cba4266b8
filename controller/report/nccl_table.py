"""The table and the JSON of nccl-tests, so that whoever reads those reads ours.

Source: NVIDIA nccl-tests, src/util.cu: columns, widths and keys. Where nothing was moved ``#wrong`` is ``N/A``; where a
collective has no in-place form its columns are, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from controller.collectives.group import Group
from controller.collectives.measure.calls import MeasuredCall
from controller.experiment.collective_run import CollectiveTable, SizeRow
from controller.topology.schema import Topology

TYPE_NAMES = {
    "fp64": "double", "fp32": "float", "fp16": "half", "bf16": "bfloat16", "int64": "int64", "int32": "int32",
    "int8": "int8",
}  # fmt: skip
"""Element types as nccl-tests prints them."""

WIDTH = 121
"""Columns of the table."""
LISTED = 64
"""Ranks that the header names before it says how many more there are."""

GIGA, MICRO = 1e9, 1e-6
_REDUCES = ("all_reduce", "reduce_scatter")
_ROOTED = ("broadcast",)


def table_header(topology: Topology, group: Group, words: str) -> str:
    """The comment lines above the rows.

    Args:
        topology: what it ran on.
        group: the ranks.
        words: what was asked, in one line.
    """
    devices = [topology.devices[name] for name in group.devices]
    lines = [f"# {words}", "#", "# Using devices"]
    lines += [
        f"#  Rank {rank:2d} Group  0 on {device.host:>10} device {device.name:>6} {device.spec.description}"
        for rank, device in enumerate(devices)
        if rank < LISTED or rank == len(devices) - 1
    ]
    if len(devices) > LISTED + 1:
        lines.insert(-1, f"#  ... {len(devices) - LISTED - 1} more ...")
    both = f"{'time':>9}  {'algbw':>6}  {'busbw':>6}  {'#wrong':>6}"
    units = f"{'(us)':>9}  {'(GB/s)':>6}  {'(GB/s)':>6}  {'':>6}"
    lines += [
        "#",
        f"#{'':>57}{'out-of-place':>32}{'in-place':>32}".rstrip(),
        f"#{'size':>11}  {'count':>12}  {'type':>8}  {'redop':>6}  {'root':>6}{both}{both}",
        f"#{'(B)':>11}  {'(elements)':>12}  {'':>8}  {'':>6}  {'':>6}{units}{units}".rstrip(),
    ]
    return "\n".join(lines)


def table_row(row: SizeRow) -> str:
    """One line of the table."""
    entry = row.out_of_place
    facts = _facts(entry)
    left = f"{facts['size']:12d}  {facts['count']:12d}  {facts['type']:>8}  {facts['redop']:>6}  {facts['root']:6d}"
    return f"{left}{_cells(entry)}{_cells(row.in_place)}"


def table_footer(rows: Sequence[SizeRow]) -> str:
    """The comment lines below the rows."""
    wrong = wrong_total(rows)
    verdict = "N/A" if wrong is None else f"{wrong} {'OK' if not wrong else 'FAILED'}"
    return f"# Out of bounds values : {verdict}\n# Avg bus bandwidth    : {average_busbw(rows) / GIGA:g}\n#"


def wrong_total(rows: Sequence[SizeRow]) -> int | None:
    """Wrong elements of all rows; None when nothing was moved."""
    counts = [entry.wrong for entry in _entries(rows) if entry.wrong is not None]
    return sum(counts) if counts else None


def average_busbw(rows: Sequence[SizeRow]) -> float:
    """Mean bus bandwidth over all rows and both forms [bytes/s]."""
    values = [entry.busbw_bytes_per_s for entry in _entries(rows)]
    return sum(values) / len(values)


def table_json(table: CollectiveTable, args: Sequence[str]) -> dict[str, Any]:
    """The object of nccl-tests' ``-J``, with what only a model has beside it.

    Times are in us and bandwidths in GB/s, as in nccl-tests; ``start_time``, ``env`` and ``nccl_version`` are empty, as
    nothing of this kind ran.

    Args:
        table: the finished table.
        args: words that it was asked by.
    """
    spec, topology = table.prepared.spec, table.prepared.topology
    document = {
        "version": 2,
        "start_time": None,
        "args": list(args),
        "env": [],
        "nccl_version": None,
        "config": {
            "collective": spec.collective, "topology": topology.name, "topology_digest": topology.digest,
            "algorithm": spec.algorithm, "protocol": spec.protocol, "live": spec.live, "seed": spec.seed,
        },
        "devices": [
            {"rank": rank, "group": 0, "hostname": topology.devices[name].host, "device": name,
             "device_info": topology.devices[name].spec.description}
            for rank, name in enumerate(table.prepared.group.devices)
        ],
        "results": [_result(row, spec.explain) for row in table.rows],
        "average_bus_bandwidth": average_busbw(table.rows) / GIGA,
        "out_of_bounds": wrong_total(table.rows),
    }  # fmt: skip
    proven = table.proven
    if proven is not None and proven.paced_s is not None:
        document["paced"] = {
            "paced_s": proven.paced_s, "virtual_s": proven.time_s, "overruns": proven.overruns, "dilation": spec.pace
        }  # fmt: skip
    return document


def _result(row: SizeRow, explain: bool) -> dict[str, Any]:
    choice = row.choice
    result = {
        **_facts(row.out_of_place),
        "algorithm": row.out_of_place.algorithm,
        "protocol": row.out_of_place.protocol,
        "pieces": row.out_of_place.call.pieces,
        "out_of_place": _side(row.out_of_place),
        "in_place": _side(row.in_place),
        "why": choice.reason,
    }
    if choice.link_changes:
        result["link_changes"] = list(choice.link_changes)
    if choice.left_out:
        result["left_out"] = list(choice.left_out)
    if explain:
        result["steps"] = [{**asdict(step), "bound": step.bound} for step in choice.steps]
    return result


def _entries(rows: Sequence[SizeRow]) -> list[MeasuredCall]:
    return [call for row in rows for call in row.calls]


def _facts(entry: MeasuredCall) -> dict[str, Any]:
    call = entry.call
    return {
        "size": entry.size_bytes,
        "count": call.count,
        "type": TYPE_NAMES[call.dtype],
        "redop": "sum" if call.collective in _REDUCES else "none",
        "root": call.root if call.collective in _ROOTED else -1,
    }


def _cells(entry: MeasuredCall | None) -> str:
    if entry is None or entry.time_s is None:
        return f"{'N/A':>9}  {'N/A':>6}  {'N/A':>6}  {'N/A':>6}"
    wrong = "N/A" if entry.wrong is None else f"{entry.wrong:g}"
    algbw, busbw = entry.algbw_bytes_per_s / GIGA, entry.busbw_bytes_per_s / GIGA
    return f"{_fixed(entry.time_s / MICRO, 7):>9}  {_fixed(algbw, 6):>6}  {_fixed(busbw, 6):>6}  {wrong:>6}"


def _fixed(value: float, width: int) -> str:
    """As many decimals as fit, at most two."""
    for decimals in (2, 1, 0):
        text = f"{value:.{decimals}f}"
        if len(text) < width or not decimals:
            return text if len(text) <= width else f"{value:.1e}"
    raise AssertionError("the loop ends with no decimals")


def _side(entry: MeasuredCall | None) -> dict[str, Any] | None:
    if entry is None or entry.time_s is None:
        return None
    return {
        "time": entry.time_s / MICRO,
        "alg_bw": entry.algbw_bytes_per_s / GIGA,
        "bus_bw": entry.busbw_bytes_per_s / GIGA,
        "nwrong": entry.wrong,
    }
