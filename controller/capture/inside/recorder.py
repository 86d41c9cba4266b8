"""Sees every operation that PyTorch dispatches: those on the device are fake and logged, small ones on the CPU real.

`FakeTensorMode` is asked directly and stays off the stack of modes: functional collectives would take it for tracing
and drop their waits. Where another one is active (shape propagation of DTensor), an operation is none of the program's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from controller.capture.inside.answers import Answers
from controller.capture.inside.experts import COUNTS
from controller.capture.inside.functional import FUNCTIONAL, group_name
from controller.capture.inside.held import Held
from controller.capture.inside.log import Log
from controller.capture.inside.remembered import Memory, Remembered
from controller.capture.inside.shadows import Shadows
from controller.capture.inside.signatures import dtype_of, scalars, tensors_in, type_of
from controller.capture.inside.triton_kernels import declared_values
from controller.capture.kernel_work import advice, declared_work

LARGE_ELEMENTS = 1 << 20
"""Tensors on the CPU of more elements are fake too, such as weights that are made there first."""
SILENT = frozenset({"prim.device.default", "aten.detach.default", "aten.is_pinned.default", "aten._pin_memory.default"})
"""Operations that neither the host nor the device spends time on."""
OF_TORCH = ("aten.", "prims.", "prim.", "fsdp.", "c10d.", "_c10d_functional", "quantized.", "flex_attention")
"""Beginnings of the names of operations that are torch's own."""
FUSED_ON_DEVICE = frozenset({"aten._fused_rms_norm.default"})
"""Operations that a build without CUDA makes of others, and CUDA does not."""

aten: Any = torch.ops.aten
_mode_of: Any = torch._C._get_dispatch_mode  # type: ignore[attr-defined]
_FAKE: Any = torch._C._TorchDispatchModeKey.FAKE
_DEVICE: Any = torch.ops.prim.device.default


class Recorder(TorchDispatchMode):
    """The dispatch mode of a captured program."""

    supports_higher_order_operators = True

    def __init__(self, shim: Any, log: Log, held: Held, answers: Answers) -> None:
        super().__init__()
        self.fake = FakeTensorMode(allow_non_fake_inputs=True)
        self.shadows = Shadows(self.fake)
        self._shim, self._log, self._held, self._answers = shim, log, held, answers
        self._calls = 0
        self._views: dict[Any, bool] = {}
        self._composites: dict[Any, bool] = {}
        self._memory = Memory(self.fake)
        answers.shadows = self.shadows

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if _mode_of(_FAKE) is not None:
            return func(*args, **kwargs)
        if func is _DEVICE and type(args[0]) is FakeTensor:
            return args[0]._fake_device
        is_fake = False
        for kind in types:
            if kind is FakeTensor:
                is_fake = True
            elif kind not in (torch.Tensor, torch.nn.Parameter) and hasattr(kind, "__tensor_flatten__"):
                return NotImplemented
        if isinstance(func, torch._ops.HigherOrderOperator):
            with self.fake:
                out = func(*args, **kwargs)
            self._note(func.name(), args, kwargs, out)
            return out
        if not is_fake and not self._is_made_on_device(func, types, args, kwargs):
            return func(*args, **kwargs)
        return self._fake_call(func, types, args, kwargs)

    def _is_made_on_device(self, func: Any, types: Any, args: Any, kwargs: Any) -> bool:
        """Whether a call without a fake operand makes one: on the device, or large."""
        device = kwargs.get("device")
        if device is None and func is aten.to.device:
            device = args[1]
        if device is not None and torch.device(device).type == "cuda":
            return True
        if types or func.namespace != "aten" or not args or not isinstance(args[0], list | tuple):
            return False
        elements = 1
        for extent in args[0]:
            elements = elements * extent if isinstance(extent, int) else 0
        return elements > LARGE_ELEMENTS

    def _fake_call(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        asked = self._memory.key(func, args, kwargs)
        known = None if asked is None else self._memory.recall(asked[0])
        if asked is not None and known is not None:
            return self._again(known, func, args, kwargs, asked[1])
        name = str(func)
        if name in SILENT:
            out = self.fake.dispatch(func, types, args, kwargs)
            if asked is not None:
                self._memory.learn(*asked, out, is_silent=True)
            return self.shadows.through(func, args, kwargs, out)
        if name == "_c10d_functional._wrap_tensor_autograd.default":
            from torch.distributed._functional_collectives import AsyncCollectiveTensor

            return AsyncCollectiveTensor(args[0])
        if name == "aten.record_stream.default":
            self._log.add("use", self._held.number(args[0]), args[1].stream_id)
            return None
        if func.namespace == "_c10d_functional":
            return self._functional_collective(func, types, args, kwargs)
        special = self._between_host_and_device(func, name, types, args, kwargs)
        if special is not NotImplemented:
            return special
        if self._is_composite(func):
            with self:
                return func.decompose(*args, **kwargs)
        try:
            out = self.fake.dispatch(func, types, args, kwargs)
        except torch._subclasses.fake_tensor.DynamicOutputShapeException:
            out = self._answers.dynamic(func, args, kwargs, self)
            self._note(name, args, kwargs, out)
            return out
        is_value = name.startswith("aten.all.") or name in COUNTS
        known = None if asked is None or is_value else self._memory.learn(*asked, out)
        out = self.shadows.through(func, args, kwargs, out)
        number = self._note(name, args, kwargs, out, self._is_view(func))
        if known is not None:
            known.number = number
        if name in COUNTS:
            self._answers.count(func, args, kwargs, out)
        elif is_value:
            out._is_all = True
        return out

    def _again(self, known: Remembered, func: Any, args: Any, kwargs: Any, operands: list[Any]) -> Any:
        """A call of a kind that was seen before."""
        out, fresh = self._memory.make(known, operands)
        if self.shadows.follows(func, operands):
            out = self.shadows.through(func, args, kwargs, out)
        if known.is_silent:
            return out
        self._calls += 1
        for each in fresh:
            if each._fake_device.type == "cuda":
                self._held.track(each)
        if known.number >= 0:
            self.launched(known.number)
        return out

    def _between_host_and_device(self, func: Any, name: str, types: Any, args: Any, kwargs: Any) -> Any:
        """Copies in both directions, and values that the host asks for; NotImplemented for everything else."""
        first = args[0] if args else None
        if name in ("aten.to.dtype_layout", "aten.to.device", "aten.to.dtype") and not isinstance(first, FakeTensor):
            device = kwargs.get("device") or (args[1] if name == "aten.to.device" else first.device)
            dtype = kwargs.get("dtype")
            return self._fake_call(
                aten._to_copy.default, types, (first,), {"device": torch.device(device), "dtype": dtype}
            )
        if func is aten._to_copy.default and not isinstance(first, FakeTensor):
            return self._to_device(first, kwargs)
        if func is aten._local_scalar_dense.default:
            return self._answers.scalar(first)
        if func is aten._to_copy.default and first.device.type == "cuda" and "device" in kwargs:
            device = kwargs["device"]
            if device is not None and torch.device(device).type == "cpu":
                return self._to_host(first, kwargs)
        if func is aten.equal.default:
            self._log.add("sync", name, 0, self._log.line())
            return True
        if func is aten.copy_.default and not isinstance(first, FakeTensor):
            self._copied("d2h", args[1], bool(len(args) > 2 and args[2]))
            first.copy_(self._answers.content(args[1]))
            return first
        if func is aten.copy_.default and not isinstance(args[1], FakeTensor) and first.device.type == "cuda":
            self._copied("h2d", args[1], bool(len(args) > 2 and args[2]))
            self.shadows.overwrite(first, args[1])
            return first
        return NotImplemented

    def _functional_collective(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """A collective that is an operation: logged as the process group would log it."""
        name = str(func).split(".")[1]
        out = self.fake.dispatch(func, types, args, kwargs)
        if name == "wait_tensor":
            work = getattr(args[0], "_work", 0)
            if work:
                self._log.add("join", work, self._shim.current_stream(self._shim.current_device()))
            if out is not args[0]:
                self.shadows.exchanged("wait", "", 1, args[0], out)
            return out
        kind, group = FUNCTIONAL[name.rstrip("_").removesuffix("_coalesced")], group_name(args, kwargs)
        ins, outs = tensors_in(args), tensors_in(out)
        for each in outs:
            if each.device.type == "cuda":
                self._held.track(each)
        from controller.capture.inside.process_group import LoggedGroup

        LoggedGroup.work_count += 1
        for each in outs:
            each._work = LoggedGroup.work_count
        given, got = (sum(each.numel() * each.element_size() for each in some) for some in (ins, outs))
        self._log.add(
            "collective", group, kind, dtype_of(ins[0].dtype), given, got, LoggedGroup.work_count,
            self._shim.current_stream(self._shim.current_device()), True, {}, self._log.line(),
        )  # fmt: skip
        size = len(self._log.groups.get(group, ())) or 1
        operator = str(args[1]) if len(args) > 1 and isinstance(args[1], str) else ""
        for before, after in zip(ins, outs, strict=False):
            self.shadows.exchanged(kind, operator, size, before, after)
        return out

    def _to_device(self, source: Any, kwargs: Any) -> Any:
        dtype = kwargs.get("dtype") or source.dtype
        device = kwargs.get("device") or source.device
        made = {"dtype": dtype, "device": device}
        out = self.fake.dispatch(aten.empty.memory_format, (), (list(source.shape),), made)
        if torch.device(device).type == "cuda":
            self._held.track(out)
            self._copied("h2d", source, bool(kwargs.get("non_blocking")))
        self.shadows.give(out, source.to(dtype) if dtype != source.dtype else source)
        return out

    def _to_host(self, source: Any, kwargs: Any) -> Any:
        self._copied("d2h", source, bool(kwargs.get("non_blocking")))
        dtype = kwargs.get("dtype") or source.dtype
        if source.numel() <= LARGE_ELEMENTS:
            return self._answers.content(source).to(dtype)
        return self.fake.dispatch(
            aten.empty.memory_format, (), (list(source.shape),), {"dtype": dtype, "device": "cpu"}
        )

    def _copied(self, direction: str, tensor: Any, goes_on: bool) -> None:
        nbytes = tensor.numel() * tensor.element_size()
        # Pageable memory is staged, so the host waits for a copy to it, and from it where it is large.
        self._log.add(
            "copy", direction, nbytes, self._shim.current_stream(self._shim.current_device()), goes_on, self._log.line()
        )

    def _is_composite(self, func: Any) -> bool:
        """Whether torch makes an operation of others, which are then seen instead."""
        known = self._composites.get(func)
        if known is None:
            keys: Any = torch._C.DispatchKey  # type: ignore[attr-defined]
            known = self._composites[func] = (
                func.namespace == "aten"
                and str(func) not in FUSED_ON_DEVICE
                and func.has_kernel_for_dispatch_key(keys.CompositeImplicitAutograd)
                and not func.has_kernel_for_dispatch_key(keys.CPU)
            )
        return known

    def _is_view(self, func: Any) -> bool:
        known = self._views.get(func)
        if known is None:
            known = self._views[func] = bool(func.is_view) or str(func) in _MORE_VIEWS
        return known

    def _note(self, name: str, args: Any, kwargs: Any, out: Any, is_view: bool = False) -> int:
        """Logs one operation on the device; returns the number of its signature, or -1 where it launches nothing."""
        self._calls += 1
        outs = tensors_in(out)
        on_device = [each for each in outs if each.device.type == "cuda"]
        for each in on_device:
            self._held.track(each)
        ins = tensors_in(args) + tensors_in(tuple(kwargs.values()))
        if is_view or not (on_device or any(each.device.type == "cuda" for each in ins)):
            return -1
        values = scalars(args, kwargs)
        if not name.startswith(OF_TORCH):
            work = declared_work(name, args, kwargs)
            if work is None:
                own = "::".join(name.split(".")[:2])
                self._log.note(f"{own} is timed by the bytes of its operands; {advice(own)}")
            else:
                values = declared_values(work)
        key = (name, tuple(map(type_of, ins)), tuple(map(type_of, outs)), values)
        number = self._log.signature(key)
        self.launched(number)
        return number

    def launched(self, number: int) -> None:
        """Logs one operation on the device by the number of its signature."""
        in_backward = torch._C._current_graph_task_id() != -1
        self._log.add(
            "kernel", number, self._shim.current_stream(self._shim.current_device()), self._calls - 1, in_backward
        )
        self._calls = 0


_MORE_VIEWS = frozenset(
    {
        "aten._unsafe_view.default", "aten.alias.default", "aten.lift_fresh.default", "aten.empty.memory_format",
        "aten.empty_strided.default", "aten.empty_like.default", "aten.new_empty.default", "aten.set_.source_Tensor",
        "aten.new_empty_strided.default", "aten._reshape_alias.default", "aten.resize_.default",
        "aten.set_.source_Storage_storage_offset", "aten.is_same_size.default", "aten.stride.int",
        "fsdp.chunk_cat.default_", "_c10d_functional.wait_tensor.default_",
    }
)  # fmt: skip
"""Operations beside those that torch itself calls views which launch no kernel."""
