"""A large topology file: JSON with one entry a line, which is YAML too and is read a hundred times as fast.

::

    # comments
    {"name": "big",
    "hosts": {
    "host0": {"devices": {"gpu0": {"product": "h100_sxm"}}},
    "host1": {"devices": {"gpu1": {"product": "h100_sxm"}}}
    },
    "links": [
    {"ends": ["gpu0.pcie", "leaf"], "bandwidth": "50 GB/s", "latency": "1 us"}
    ]}

Import writes it of a cluster of thousands of hosts. What has any other layout is left to the parser of YAML.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

Lines = dict[tuple[str | int, ...], int]
"""Line of each entry at the top and one level below it, counted from 1."""

START = '{"name": '


def large_text(comments: Iterable[str], name: str, sections: Mapping[str, Mapping[str, Any] | list[Any]]) -> str:
    """A file of that layout."""
    lines = [*comments, f"{START}{json.dumps(name)},"]
    for place, (key, entries) in enumerate(sections.items()):
        mapping = isinstance(entries, Mapping)
        lines.append(f"{json.dumps(key)}: {'{' if mapping else '['}")
        if isinstance(entries, Mapping):
            rows = [f"{json.dumps(each)}: {json.dumps(value)}" for each, value in entries.items()]
        else:
            rows = [json.dumps(value) for value in entries]
        lines += [f"{row}," for row in rows[:-1]] + rows[-1:]
        lines.append(("}" if mapping else "]") + ("," if place + 1 < len(sections) else "}"))
    return "\n".join(lines) + "\n"


def read_entries(text: str) -> tuple[dict[str, Any], Lines] | None:
    """The content of such a file with its lines; None where it has another layout, or is no JSON."""
    rows = text.split("\n")
    number = 0
    while number < len(rows) and rows[number].startswith("#"):
        number += 1
    if number >= len(rows) or not rows[number].startswith(START):
        return None
    try:
        return _read(rows, number)
    except (ValueError, TypeError, RecursionError):
        return None


def _read(rows: list[str], number: int) -> tuple[dict[str, Any], Lines] | None:
    decoder = json.JSONDecoder(object_pairs_hook=_once)
    data: dict[str, Any] = {"name": decoder.decode(rows[number][len(START) :].removesuffix(","))}
    lines: Lines = {("name",): number + 1}
    number += 1
    while number < len(rows):
        key = decoder.decode(rows[number][:-3])
        if key in data or rows[number][-3:] not in (": {", ": ["):
            return None
        lines[key,] = number + 1
        mapping = rows[number].endswith("{")
        held: dict[str, Any] = {}
        listed: list[Any] = []
        number += 1
        while rows[number][:1] not in ("}", "]"):
            row = rows[number].removesuffix(",")
            if mapping:
                ((name, value),) = decoder.decode(f"{{{row}}}").items()
                if name in held:
                    return None
                held[name] = value
                lines[key, name] = number + 1
            else:
                lines[key, len(listed)] = number + 1
                listed.append(decoder.decode(row))
            number += 1
        data[key] = held if mapping else listed
        close = "}" if mapping else "]"
        if rows[number] == f"{close}}}":
            return (data, lines) if not any(rows[number + 1 :]) else None
        if rows[number] != f"{close},":
            return None
        number += 1
    return None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found
