"""What a captured program came to, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.report.tables import quantity, show, table

if TYPE_CHECKING:
    from controller.capture.result import CapturedResult

MOST_CALLS = 20


def show_captured(result: CapturedResult) -> None:
    """Prints the step, memory, who stands for whom, and the calls that take longest."""
    from controller.capture.result import MFU_DEFINITION

    step = result.time_s
    rows = [("step", quantity(step, "s"))]
    if result.tokens:
        rows.append(("tokens/s per device", f"{result.tokens_per_s:,.0f}  ({result.tokens_from})"))
    rows += [
        ("MFU", f"{result.mfu_ratio:.1%}  ({MFU_DEFINITION})"),
        (
            "communication",
            f"{quantity(result.communication_s, 's')}, exposed {result.exposed_s / step:.1%} of the step",
        ),
        ("idle", f"{result.idle_s / step:.1%} of the step on the idlest rank (bubble and host)"),
    ]
    for rank, use in result.memory.items():
        text = f"{quantity(use.allocated_bytes, 'bytes')} allocated, {quantity(use.reserved_bytes, 'bytes')} reserved"
        rows.append((f"memory of rank {rank}", use.failed or text))
    rows += [(f"rank {rank}", text) for rank, text in result.equal.items()]
    rows.append(("steps", "the last two are alike" if result.is_steady else "the last two are not alike; capture more"))
    show(table(("what", "result"), rows))
    calls = [
        (
            each.name if each.is_known else f"{each.name} (not in the table: by bytes)",
            each.kind,
            str(each.count),
            quantity(each.time_s, "s"),
            f"{each.time_s / step:.1%}",
        )
        for number, each in enumerate(result.calls)
        if number < MOST_CALLS or not each.is_known
    ]
    show(table(("call", "kind", "kernels", "time", "of the step"), calls))
    if result.notes:
        show(table(("note",), [(note,) for note in result.notes]))
