"""Facts about plans, kept by the code that found them for as long as each plan lives.

A plan is the same object from submission to submission, and equal plans are not compared: identity is cheap and exact.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

from controller.plan.ops import Plan

Found = TypeVar("Found")


class PlanMemo(Generic[Found]):
    """Values by plan."""

    def __init__(self, most: int | None = None) -> None:
        """Keeps at most `most` plans, the latest; needed where a value refers to its plan and so keeps it alive."""
        self._most = most
        self._kept: dict[int, tuple[weakref.ref[Plan], Found]] = {}

    def get(self, plan: Plan) -> Found | None:
        """What is kept of `plan`; None for nothing."""
        entry = self._kept.get(id(plan))
        return entry[1] if entry is not None and entry[0]() is plan else None

    def put(self, plan: Plan, found: Found) -> Found:
        """Keeps `found` of `plan` until it is gone, and returns it."""
        key = id(plan)
        self._kept.pop(key, None)
        if self._most is not None and len(self._kept) >= self._most:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = weakref.ref(plan, lambda _: self._kept.pop(key, None)), found
        return found

    def of(self, plan: Plan, make: Callable[[Plan], Found]) -> Found:
        """What is kept of `plan`, made when it is asked for first."""
        found = self.get(plan)
        return self.put(plan, make(plan)) if found is None else found
