"""Emits what algorithms do with views to a script, over its values.

Algorithms know views of buffers alone, so that plans of a call are built without a detour. A value is known to them as
a view of a buffer that stands for it, in a tier that no device has.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from controller.plan.ops import Buffer, OpAttribute, View
from controller.plan.script import Script, Source
from controller.plan.size import Size
from controller.plan.value import Place, Value

_STAND_IN = "values of a script"
"""Tier of the buffers that stand for values."""


class ScriptEmitter:
    """An emitter over views that gives a script its values back."""

    def __init__(self, s: Script) -> None:
        self._s = s
        self._values: dict[Buffer, Value] = {}

    def view(self, operand: Source, extents: tuple[Size, ...]) -> View:
        """An operand under other extents; a value becomes a view of a buffer that stands for it."""
        if isinstance(operand, Value):
            buffer = Buffer(operand.place.device, _STAND_IN, f"{operand.number}", operand.dtype, ())
            self._values[buffer] = operand
            return View(buffer, operand.offset_bytes, extents)
        view = operand.view() if isinstance(operand, Buffer) else operand
        return view if view.shape == extents else View(view.buffer, view.offset_bytes, extents)

    def kernel(
        self,
        op: str,
        device: str,
        inputs: Sequence[View],
        outputs: Sequence[View],
        *,
        queue: str = "",
        label: str = "",
        after: Iterable[int] = (),
        **attributes: OpAttribute,
    ) -> int:
        """Emits a launch; returns its index in the script."""
        self._s.results(
            op,
            *map(self._operand, inputs),
            on=Place(device, ""),
            out=[self._operand(view) for view in outputs],
            queue=queue,
            label=label,
            after=after,
            **attributes,  # type: ignore[arg-type]
        )
        return self._s.count - 1

    def transfer(
        self,
        source: View | Sequence[View],
        destination: View | Sequence[View],
        *,
        rate_limit_bytes_per_s: float = 0.0,
        reduction: str = "",
        label: str = "",
        connection: str = "",
        after: Iterable[int] = (),
    ) -> int:
        """Emits a transfer; returns its index in the script."""
        self._s.transfer(
            [self._operand(view) for view in ((source,) if isinstance(source, View) else source)],
            [self._operand(view) for view in ((destination,) if isinstance(destination, View) else destination)],
            label,
            rate_limit_bytes_per_s=rate_limit_bytes_per_s,
            reduction=reduction,
            connection=connection,
            after=after,
        )
        return self._s.count - 1

    def _operand(self, view: View) -> Source:
        value = self._values.get(view.buffer)
        if value is None:
            return view
        return Value(value.script, value.number, value.place, value.dtype, view.shape, view.offset_bytes)
