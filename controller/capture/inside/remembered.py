"""Shapes of results by what was asked for: the second call of a kind makes its results without asking PyTorch again.

`FakeTensorMode` finds a shape by running the operation on tensors without data, or from a cache of its own, which
takes longer than either has to. What a call makes depends on the types of its operands and its other arguments alone,
so that its results are described once: as an operand itself, as a view of an operand's storage, or as a tensor of its
own. Calls that this does not describe (unknown kinds of argument, shapes that data decides) are asked for every time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor

_make: Any = torch.Tensor._make_subclass  # type: ignore[attr-defined]
_refuse: Any = torch._C._set_throw_on_mutable_data_ptr  # type: ignore[attr-defined]
_warn: Any = torch._C._set_warn_deprecated_on_mutable_data_ptr  # type: ignore[attr-defined]
_without_dispatch: Any = torch._C._DisableTorchDispatch
_PLAIN = frozenset(
    {int, float, bool, str, type(None), torch.dtype, torch.device, torch.layout, torch.memory_format, complex}
)
_DECIDED_BY_DATA = ("data_dependent_output", "dynamic_output_shape", "inplace_view")
_STAYS_UNKNOWN = frozenset({"aten.lift_fresh.default", "aten.lift_fresh_copy.default", "aten.lift.default"})


@dataclass(frozen=True, slots=True)
class MadeTensor:
    """One result of a call.

    Attributes:
        operand: which operand it is, or whose storage it shares; -1 for neither.
        is_itself: whether it is that operand.
        shape, stride, offset, dtype: of the tensor.
        device: where it is said to lie.
    """

    operand: int
    is_itself: bool
    shape: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    offset: int = 0
    dtype: Any = None
    device: Any = None


@dataclass(slots=True)
class Remembered:
    """A kind of call.

    Attributes:
        results: in order; None where the call returns none there.
        container: ``list`` or ``tuple`` around them; None for a single one.
        number: of the signature in the log; -1 where it is not logged.
        is_silent: whether neither host nor device spends time on it.
    """

    results: Sequence[MadeTensor | None]
    container: type | None
    number: int = -1
    is_silent: bool = False


class Memory:
    """Kinds of calls of one program."""

    def __init__(self, fake: Any) -> None:
        self._about_data = _warn if fake._allow_unsafe_data_ptr_access else _refuse
        self._known: dict[Any, Remembered | None] = {}
        self._states: dict[torch.device, dict[str, Any]] = {}
        self._decided: dict[Any, bool] = {}

    def key(self, func: Any, args: Any, kwargs: Any) -> tuple[Any, list[Any]] | None:
        """What decides the results of a call, and its fake operands; None where that is not known."""
        decided = self._decided.get(func)
        if decided is None:
            tags = {str(tag).rpartition(".")[2] for tag in func.tags}
            decided = bool(tags.intersection(_DECIDED_BY_DATA)) or str(func) in _STAYS_UNKNOWN
            self._decided[func] = decided
        if decided or torch.is_inference_mode_enabled():
            return None
        found: list[Any] = [func, torch.get_default_dtype()]
        operands: list[Any] = []
        if not _collect(args, found, operands):
            return None
        for name, value in kwargs.items():
            found.append(name)
            if not _collect((value,), found, operands):
                return None
        return tuple(found), operands

    def recall(self, key: Any) -> Remembered | None:
        """A kind of call that was seen before."""
        return self._known.get(key)

    def learn(self, key: Any, operands: list[Any], out: Any, is_silent: bool = False) -> Remembered | None:
        """Describes the results of a call; None where they are not of the known kinds."""
        if key in self._known:
            return self._known[key]
        container = type(out) if type(out) in (list, tuple) else None
        values = out if container else (out,)
        results = [self._described(value, operands) for value in values]
        known = None if False in results else Remembered(results, container, is_silent=is_silent)
        self._known[key] = known
        return known

    def make(self, known: Remembered, operands: list[Any]) -> tuple[Any, list[Any]]:
        """The results of a call, and those of them that have a storage of their own."""
        made: list[Any] = []
        fresh: list[Any] = []
        for each in known.results:
            if each is None:
                made.append(None)
            elif each.is_itself:
                made.append(operands[each.operand])
            else:
                value = self._tensor(each, operands)
                made.append(value)
                if each.operand < 0:
                    fresh.append(value)
        if known.container is None:
            return made[0], fresh
        return known.container(made), fresh

    def _tensor(self, each: MadeTensor, operands: list[Any]) -> Any:
        with _without_dispatch():
            if each.operand < 0:
                plain = torch.empty_strided(each.shape, each.stride, dtype=each.dtype, device="meta")
            else:
                plain = torch.empty(0, dtype=each.dtype, device="meta")
                plain.set_(operands[each.operand].untyped_storage(), each.offset, each.shape, each.stride)
        value = _make(FakeTensor, plain, False, dispatch_device=True, device_for_backend_keys=each.device)
        self._about_data(value)
        value.__dict__.update(self._states[each.device])
        return value

    def _described(self, value: Any, operands: list[Any]) -> Any:
        """What a result is; False where it is of no known kind."""
        if value is None:
            return None
        if not isinstance(value, FakeTensor) or value.constant is not None:
            return False
        for place, operand in enumerate(operands):
            if value is operand:
                return MadeTensor(place, True)
        if value.requires_grad or value.layout is not torch.strided or _is_conjugate(value):
            return False
        device, storage = value.device, value.untyped_storage()
        if device not in self._states:
            state = dict(value.__dict__)
            if any(name not in _STATE for name in state):
                state = {name: content for name, content in state.items() if name in _STATE}
            self._states[device] = state
        form = (tuple(value.shape), tuple(value.stride()), value.storage_offset(), value.dtype, device)
        for place, operand in enumerate(operands):
            if operand.untyped_storage()._cdata == storage._cdata:
                return MadeTensor(place, False, *form)
        with _without_dispatch():
            plain = torch.empty_strided(form[0], form[1], dtype=form[3], device="meta")
        is_whole = value.storage_offset() == 0 and plain.untyped_storage().nbytes() == storage.nbytes()
        return MadeTensor(-1, False, *form) if is_whole else False


_MEMOS = ("nonzero_memo", "item_memo", "unique_memo", "unique_consecutive_memo", "nested_int_memo")
_STATE = frozenset(
    {"_fake_device", "fake_mode", "constant", "pytype", "dispatch_keys", "real_tensor"}
    | {f"_{name}{end}" for name in _MEMOS for end in ("", "_vc", "_epoch")}
)
"""What PyTorch itself gives a fake tensor; further attributes are those of one tensor."""


def _is_conjugate(value: Any) -> bool:
    return bool(value.dtype.is_complex and value.is_conj())


def _collect(values: Any, found: list[Any], operands: list[Any]) -> bool:
    """Adds what of arguments decides results; False where something else is among them."""
    for value in values:
        kind = type(value)
        if kind is FakeTensor:
            if value.constant is not None or value.layout is not torch.strided or _is_conjugate(value):
                return False
            found.append((value.shape, value.stride(), value.storage_offset(), value.dtype, value._fake_device))
            operands.append(value)
        elif kind in _PLAIN:
            found.append(kind)
            found.append(value)
        elif kind is list or kind is tuple or kind is torch.Size:
            found.append(kind)
            found.append(len(value))
            if not _collect(value, found, operands):
                return False
        else:
            return False
    return True
