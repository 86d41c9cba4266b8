"""What lies inside a Flight Recorder dump: dictionaries of known keys, checked and made into data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from controller.diagnosis.dumps import Progress, RankDump, RecordedOp
from controller.diagnosis.errors import BadDump
from controller.diagnosis.telemetry import Communicator

BACKENDS = ("nccl", "ncclx", "xccl", "gloo", "rccl", "rcclx", "mccl", "hccl")
"""Backends whose names PyTorch's analyser knows."""
STATES = ("scheduled", "started", "completed")
MOST_RANKS = 1_000_000


def dump_of(value: object, rank: int, source: str) -> RankDump:
    """The dump of `rank` from what its pickle holds.

    Raises:
        BadDump: a missing key, or a value of another kind; says which entry.
    """
    content = _mapping(value, source, "the dump")
    for key in ("version", "pg_config", "entries"):
        if key not in content:
            raise BadDump(f"{source}: not a Flight Recorder dump: no key {key!r}; dump the rank again, or remove it")
    config = _mapping(content["pg_config"], source, "pg_config")
    communicators = {str(name): _communicator(str(name), given, source) for name, given in config.items()}
    entries = content["entries"]
    if not isinstance(entries, list | tuple):
        raise BadDump(f"{source}: entries is {_shown(entries)}; it must be a list; dump the rank again, or remove it")
    ops = [_op(each, communicators, f"{source}: entry {number}") for number, each in enumerate(entries)]
    status = _mapping(content.get("pg_status") or {}, source, "pg_status")
    progress = {
        int(number): Progress(
            _whole(given, "last_enqueued_collective", source), _whole(given, "last_completed_collective", source)
        )
        for number, given in status.items()
        if str(number).isdecimal()
    }
    ordered = tuple(sorted(ops, key=lambda op: op.record_id))
    return RankDump(rank, source, str(content["version"]), tuple(communicators.values()), ordered, progress)


def _communicator(name: str, given: object, source: str) -> Communicator:
    held = _mapping(given, source, f"pg_config[{name!r}]")
    ranks = held.get("ranks")
    if isinstance(ranks, str):
        try:
            ranks = json.loads(ranks)
        except ValueError:
            ranks = None
    if not isinstance(ranks, list | tuple) or not all(type(each) is int and 0 <= each < MOST_RANKS for each in ranks):
        raise BadDump(
            f"{source}: pg_config[{name!r}] has ranks {_shown(held.get('ranks'))}; they must be a list of whole "
            f"numbers, as '[0, 1]'; dump the rank again, or remove the file"
        )
    return Communicator(name, tuple(ranks), str(held.get("desc", "")))


def _op(given: object, communicators: Mapping[str, Communicator], where: str) -> RecordedOp:
    entry = _mapping(given, where, "it")
    group = entry.get("process_group")
    if not isinstance(group, list | tuple) or len(group) != 2 or not all(isinstance(each, str) for each in group):
        raise BadDump(f"{where}: process_group is {_shown(group)}; it must be a name and a description")
    # The default group of gloo has the key '' in pg_config and the name '0' in its entries.
    found = communicators.get(group[0]) or (communicators.get("") if group[0] == "0" else None)
    if found is None:
        raise BadDump(f"{where}: process group {group[0]!r} is not in pg_config, which has {_shown([*communicators])}")
    name, state = entry.get("profiling_name"), entry.get("state")
    backend, colon, what = name.partition(":") if isinstance(name, str) else ("", "", "")
    if not colon or not what:
        raise BadDump(f"{where}: profiling_name is {_shown(name)}; it must be like 'nccl:all_reduce'")
    if backend not in BACKENDS:
        raise BadDump(f"{where}: backend {backend!r} of {name!r} is none of {', '.join(BACKENDS)}")
    if state not in STATES:
        raise BadDump(f"{where}: state is {_shown(state)}; it must be one of {', '.join(STATES)}")
    is_p2p = bool(entry.get("is_p2p", False))
    number = entry.get("pg_id")
    return RecordedOp(
        _whole(entry, "record_id", where),
        found,
        number if type(number) is int else None,
        _whole(entry, "p2p_seq_id" if is_p2p else "collective_seq_id", where),
        is_p2p,
        what,
        "completed" if entry.get("retired") is True else state,
        _whole(entry, "time_created_ns", where),
        (_frozen(entry.get("input_sizes")), _frozen(entry.get("output_sizes"))),
        (_frozen(entry.get("input_dtypes")), _frozen(entry.get("output_dtypes"))),
    )


def _mapping(value: object, where: str, what: str) -> Mapping[Any, Any]:
    if not isinstance(value, dict):
        raise BadDump(
            f"{where}: not a Flight Recorder dump: {what} is {_shown(value)}, where a dictionary belongs; dump the "
            f"rank again, or remove the file"
        )
    return value


def _whole(given: object, key: str, where: str) -> int:
    value = given.get(key) if isinstance(given, Mapping) else None
    if type(value) is not int:
        raise BadDump(f"{where}: {key} is {_shown(value)}; it must be a whole number; dump the rank again")
    return value


def _frozen(value: object) -> object:
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
