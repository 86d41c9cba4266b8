"""Flight Recorder dumps in miniature, as dictionaries: what each rank issued in which group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Issued = tuple[str, str, int, str]
"""Group, operation, number in the group, state."""


def content(groups: Mapping[str, Sequence[int]], issued: Iterable[Issued], **changes: object) -> dict[str, Any]:
    """What the dump of a rank holds."""
    entries = []
    for number, (group, what, seq, state) in enumerate(issued):
        is_p2p = what.startswith(("send", "recv"))
        entries.append(
            {
                "record_id": number,
                "pg_id": [*groups].index(group),
                "process_group": (group, f"{group} group"),
                "collective_seq_id": 0 if is_p2p else seq,
                "p2p_seq_id": seq if is_p2p else 0,
                "is_p2p": is_p2p,
                "profiling_name": f"nccl:{what}",
                "state": state,
                "time_created_ns": 1000 * number,
                "input_sizes": [[8]],
                "output_sizes": [[8]],
                "input_dtypes": ["Float"],
                "output_dtypes": ["Float"],
            }
        )
    config = {
        name: {"name": name, "desc": f"{name} group", "ranks": str(list(ranks))} for name, ranks in groups.items()
    }
    return {"version": "2.10", "pg_config": config, "entries": entries, **changes}
