"""Real values of small tensors beside their fake selves, as far as they follow from what the program wrote itself."""

from __future__ import annotations

from typing import Any

import torch

from controller.capture.inside.signatures import tensors_in

MOST_ELEMENTS = 4096
"""Elements of a tensor whose values are kept."""
_MAKERS = ("aten.zeros.", "aten.ones.", "aten.full.", "aten.arange.", "aten.scalar_tensor.", "aten.zeros_like.",
           "aten.ones_like.", "aten.full_like.", "aten.new_zeros.", "aten.new_ones.", "aten.new_full.",
           "aten.zero_.", "aten.fill_.")  # fmt: skip
"""Operations whose values do not depend on those of a tensor."""
_UNKNOWN = ("aten.empty", "aten.new_empty")
"""Operations whose values are whatever lay there."""


class Shadows:
    """Keeps and carries the values of small tensors."""

    def __init__(self, fake: Any) -> None:
        self._fake = fake
        self._makers: dict[Any, bool] = {}

    def of(self, tensor: Any) -> Any:
        """The real values of a tensor on the CPU; None where they are not known."""
        if not hasattr(tensor, "fake_mode"):
            return tensor
        return getattr(tensor, "_shadow", None)

    def give(self, tensor: Any, values: Any) -> None:
        """Says what a fake tensor holds."""
        if hasattr(tensor, "fake_mode") and tensor.numel() <= MOST_ELEMENTS:
            tensor._shadow = values.detach().clone()

    def overwrite(self, tensor: Any, values: Any) -> None:
        """Says what a fake tensor holds from now on."""
        known = self.of(tensor)
        if known is not None:
            known.copy_(values)
        else:
            self.give(tensor, values.to(tensor.dtype).expand(tensor.shape))

    def follows(self, func: Any, operands: list[Any]) -> bool:
        """Whether a call can make or forget values: one of its operands has some, or it makes them of nothing."""
        if any("_shadow" in operand.__dict__ for operand in operands):
            return True
        makes = self._makers.get(func)
        if makes is None:
            makes = self._makers[func] = str(func).startswith(_MAKERS)
        return makes

    def exchanged(self, kind: str, operator: str, size: int, given: Any, out: Any) -> None:
        """Carries values through a collective of `size` ranks that all give the same."""
        known = self.of(given)
        if known is None or out.numel() > MOST_ELEMENTS:
            return
        if kind == "all_reduce":
            found = known * size if operator == "sum" else known.clone()
        elif kind == "all_gather":
            found = torch.cat([known.flatten()] * size)
        elif kind == "reduce_scatter" and operator == "sum":
            found = known.flatten()[: out.numel()] * size
        elif kind == "all_to_all":
            # Everybody sends this rank what this rank sends to the first one.
            found = known.flatten()[: known.numel() // size].repeat(size)
        else:
            found = known.clone()
        if found.numel() == out.numel():
            out._shadow = found.reshape(out.shape).to(out.dtype)

    def through(self, func: Any, args: Any, kwargs: Any, out: Any) -> Any:
        """Carries values through an operation that all of its operands are known of; forgets what it overwrites."""
        outs = tensors_in(out)
        ins = tensors_in(args) + tensors_in(tuple(kwargs.values()))
        name = str(func)
        is_small = bool(outs) and all(each.numel() <= MOST_ELEMENTS for each in outs)
        is_known = bool(ins) and all(self.of(each) is not None for each in ins) and not name.startswith(_UNKNOWN)
        is_known = is_known and "rand" not in name
        if is_small and func.namespace == "aten" and (is_known or name.startswith(_MAKERS)):
            self._compute(func, args, kwargs, outs)
        elif func._schema.is_mutable:
            for each in outs or ins[:1]:
                if getattr(each, "_shadow", None) is not None:
                    each._shadow = None
        return out

    def _compute(self, func: Any, args: Any, kwargs: Any, outs: list[Any]) -> None:
        def real(value: Any) -> Any:
            if isinstance(value, torch.Tensor):
                known = self.of(value)
                return torch.zeros(value.shape, dtype=value.dtype) if known is None else known
            if isinstance(value, list | tuple):
                return type(value)(map(real, value)) if not hasattr(value, "_fields") else value
            return torch.device("cpu") if isinstance(value, torch.device) else value

        try:
            with torch._C._DisableTorchDispatch():
                found = func(*map(real, args), **{name: real(value) for name, value in kwargs.items()})
        except (RuntimeError, NotImplementedError, TypeError):
            return
        made = tensors_in(found)
        if len(made) == len(outs):
            for values, out in zip(made, outs, strict=True):
                out._shadow = values if values.shape == out.shape and values.dtype == out.dtype else None
