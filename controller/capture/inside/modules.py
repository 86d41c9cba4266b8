"""Moving modules whose parameters are fake, and the small things that tensors of a build without CUDA lack."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import is_traceable_wrapper_subclass
from torch.utils.weak import WeakTensorKeyDictionary

from controller.capture.inside.log import Log


def install_item(scalar: Any) -> None:
    """Lets ``.item()`` return what `scalar` does; on its way through C++ a placeholder would become a plain number."""
    tensor: Any = torch.Tensor
    plain = tensor.item

    def item(self: Any) -> Any:
        return scalar(self) if isinstance(self, FakeTensor) else plain(self)

    tensor.item = item


def install_compile(log: Log) -> None:
    """Says that ``torch.compile`` runs as eager."""
    place: Any = torch
    plain = place.compile

    def compile_(*args: Any, **kwargs: Any) -> Any:
        log.note("torch.compile runs as eager: kernels are those of single operations, none of them fused")
        return plain(*args, **kwargs)

    place.compile = compile_


def install_modules() -> None:
    """Replaces ``Module._apply``, which swaps tensors in a way that fails for fake ones with weak references."""
    mode: Any = FakeTensorMode
    mode.avoid_device_init = property(lambda self: True)
    moved: Any = WeakTensorKeyDictionary()

    def move(parameter: Any, fn: Any) -> Any:
        """The parameter after `fn`: itself with other data, or a new one where it was on the CPU before."""
        if parameter in moved:
            return moved[parameter]
        with torch.no_grad():
            new = fn(parameter)
        if new is parameter:
            return parameter
        grad, parameter.grad = parameter.grad, None
        is_made = parameter.device.type == "meta" and new.device.type != "meta"
        if isinstance(parameter, FakeTensor) and isinstance(new, FakeTensor) and not is_made:
            parameter.data = new.data
            parameter.fake_device = new.fake_device
        elif is_traceable_wrapper_subclass(new):
            torch.utils.swap_tensors(parameter, nn.Parameter(new, requires_grad=parameter.requires_grad))
        elif isinstance(new, FakeTensor) or type(parameter.data) is not type(new.data):
            replaced = nn.Parameter(new, parameter.requires_grad)
            moved[parameter] = replaced
            parameter = replaced
        else:
            parameter.data = new
        if grad is not None:
            parameter.grad = fn(grad)
        return parameter

    def apply(self: Any, fn: Any, recurse: bool = True) -> Any:
        if recurse:
            for module in self.children():
                module._apply(fn)
        for name, parameter in self._parameters.items():
            if parameter is not None:
                self._parameters[name] = move(parameter, fn)
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    module: Any = nn.Module
    module._apply = apply
    tensor: Any = torch.Tensor
    plain = tensor.__format__

    def text(self: Any, spec: str) -> str:
        return format(self.item(), spec) if isinstance(self, FakeTensor) and self.dim() == 0 else plain(self, spec)

    tensor.__format__ = text
    tensor.pin_memory = lambda self, *_: self
    tensor.is_pinned = lambda self, *_: True
