"""Points of Intel MLC on servers: bandwidth by mix, beside the model of host memory.

The table names its systems in words; their memory is read off the name (``12x DDR4-2666``). A system without a speed,
and idle latencies, which the model takes as an input, are left out by line.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from controller.devices.predict.question import Prediction
from controller.devices.predict.shapes import Refusal, Sheet, need_columns
from controller.devices.validate.measured import MeasuredFile, MeasuredRow, positive
from controller.errors import BadQuestion
from node.hardware.dram import channel_bytes_per_s, mixed_bytes_per_s
from node.hardware.units import MEGA

WRITE_SHARES: Final = {
    "ALL Reads": 0.0,
    "3:1 Reads-Writes": 1 / 4,
    "2:1 Reads-Writes": 1 / 3,
    "1:1 Reads-Writes": 1 / 2,
    "Stream-triad like": 1 / 3,
}
"""Traffic of MLC -> share of the bytes that are written."""

_MEMORY = re.compile(r"(\d+)x DDR\d-(\d+)")


def compared_points(sheet: Sheet, answer: MeasuredFile) -> MeasuredFile:
    """`answer` with the rows of `sheet`: time of a megabyte, measured and by the model.

    Raises:
        BadMeasurements: a column is missing.
    """
    need_columns(sheet, ("system", "metric", "value", "unit"))
    rows, refusals = [], list(sheet.refusals)
    for line, cells in sheet.rows:
        where = f"{sheet.name}:{line}"
        memory = _MEMORY.search(cells["system"])
        share = WRITE_SHARES.get(cells["metric"])
        try:
            if share is None or cells["unit"] != "MB/s":
                raise BadQuestion(f"{cells['metric']} [{cells['unit']}] is not modelled: it is an input of the model")
            if memory is None:
                raise BadQuestion(f"{cells['system']!r} says no memory as in '12x DDR4-2666'")
            measured_s = 1.0 / positive("value", cells)
        except BadQuestion as error:
            refusals.append(Refusal(where, str(error)))
            continue
        rate = mixed_bytes_per_s(channel_bytes_per_s(int(memory[1]), float(memory[2])), share)
        predicted = Prediction(MEGA / rate, "dram", {"dram": MEGA / rate})
        rows.append(MeasuredRow(line, {"system": cells["system"], "metric": cells["metric"]}, measured_s, predicted))
    return replace(answer, table="host_dram", rows=tuple(rows), refusals=tuple(refusals))
