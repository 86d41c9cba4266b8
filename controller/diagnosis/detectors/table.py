"""The table of detectors: a new one is one file and one line here."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from controller.diagnosis.errors import UnknownDetector
from controller.diagnosis.verdicts import Detector
from controller.topology.nearest import hint


@dataclass(frozen=True, slots=True)
class DetectorEntry:
    """One detector.

    Attributes:
        target: ``module:class``.
        finds: kinds of faults that it can find at all.
        patience_s: how long after an operation stood still it may take to speak [s].
        summary: a line for people.
    """

    target: str
    finds: tuple[str, ...]
    patience_s: float
    summary: str

    def make(self) -> Detector:
        """A new one, which has seen nothing."""
        module, _, name = self.target.partition(":")
        made: Detector = getattr(importlib.import_module(f"controller.diagnosis.detectors.{module}"), name)()
        return made


STALLS = ("hang", "kill", "freeze", "dead_link")
DETECTORS: Mapping[str, DetectorEntry] = {
    "default": DetectorEntry(
        "default:DefaultDetector", (*STALLS, "slow", "bandwidth"), 90.0,
        "waits-for graph for stalls, two windows for slowness",
    ),
    "c4d": DetectorEntry(
        "c4d:C4D", (*STALLS, "slow", "bandwidth"), 360.0, "C4D as published: means, 3x and 5x, 20 s, hang after 5 min"
    ),
    "c4d_median": DetectorEntry(
        "c4d:MedianC4D", (*STALLS, "slow", "bandwidth"), 360.0, "C4D with medians, which several bad ranks do not hide"
    ),
    "greyhound": DetectorEntry(
        "greyhound:Greyhound", ("slow", "bandwidth"), 0.0, "change of the iteration time, then probes"
    ),
    "watchdog": DetectorEntry("watchdog:Watchdog", STALLS, 700.0, "NCCL's watchdog: ten minutes"),
    "phi_accrual": DetectorEntry("phi_accrual:PhiAccrual", ("kill", "freeze"), 60.0, "signs of life, Akka's defaults"),
    "wavefront": DetectorEntry(
        "wavefront_watch:WavefrontWatch", ("hang", "kill", "freeze"), 90.0, "Flight Recorder's wavefront after 60 s"
    ),
    "what_if": DetectorEntry("what_if_watch:WhatIfWatch", ("slow",), 0.0, "the rank whose repair brings most"),
}  # fmt: skip


def chosen(names: Sequence[str]) -> dict[str, DetectorEntry]:
    """The detectors of these names; ``all`` stands for every one.

    Raises:
        UnknownDetector: names the nearest one.
    """
    found: dict[str, DetectorEntry] = {}
    for name in names:
        if name == "all":
            found |= DETECTORS
        elif name in DETECTORS:
            found[name] = DETECTORS[name]
        else:
            raise UnknownDetector(f"no detector {name!r}{hint(name, ('all', *DETECTORS), 'detectors')}")
    return found
