"""What telemetry lacks: records that are lost, and clocks that are off."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from controller.diagnosis.telemetry import OperationRecords, TelemetryEvent, TransportRecords

Records = TypeVar("Records", OperationRecords, TransportRecords)


class Imperfect:
    """Loses records and shifts clocks, by a seed.

    Args:
        seed: of what is drawn.
        ranks: how many.
        loss_ratio: share of the records of ranks and pairs that never come.
        offset_s: largest offset of a rank's clock [s].
    """

    def __init__(self, seed: tuple[int, ...], ranks: int, loss_ratio: float = 0.0, offset_s: float = 0.0) -> None:
        self._random = np.random.default_rng([*seed, 0x696D])
        self._loss_ratio = loss_ratio
        self._offset = self._random.uniform(-offset_s, offset_s, ranks)
        self._is_perfect = not loss_ratio and not offset_s

    def seen(self, event: TelemetryEvent) -> TelemetryEvent:
        """What of an event the collector gets."""
        if self._is_perfect:
            return event
        if isinstance(event, OperationRecords):
            offset = self._offset[event.ranks]
            event = replace(event, entered_at=event.entered_at + offset, done_at=event.done_at + offset)
            return _some(event, self._random.random(len(event.ranks)) >= self._loss_ratio)
        if isinstance(event, TransportRecords):
            return _some(event, self._random.random(len(event.source)) >= self._loss_ratio)
        return event


def _some(event: Records, kept: NDArray[np.bool_]) -> Records:
    columns = {
        each.name: getattr(event, each.name)[kept]
        for each in fields(event)
        if isinstance(getattr(event, each.name), np.ndarray)
    }
    return replace(event, **columns)
