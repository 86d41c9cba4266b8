"""The table of assumed constants of a topology, as pages show it."""

from __future__ import annotations

from controller.experiment.result import assumptions
from controller.report.page import Section, table_section
from controller.topology.schema import Topology

SHOWN_NAMES = 3
"""Devices and links of one row that are named; the others are counted."""


def assumed_section(topology: Topology) -> Section:
    """Every assumed constant with its reason; devices and links for which all is the same share a row."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for entry in assumptions(topology):
        rows.setdefault((entry.path, entry.text, entry.source), []).append(entry.device)
    shown = [(_names(names), *rest) for rest, names in rows.items()]
    return table_section("assumed constants", ("device", "constant", "value", "why"), shown)


def _names(names: list[str]) -> str:
    more = len(names) - SHOWN_NAMES
    return ", ".join(names[:SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")
