"""Operations that have one kernel on CUDA, and that a build without it makes of several others.

A stub for the device tells the dispatcher that there is a kernel; it never runs, since tensors are fake.
"""

from __future__ import annotations

from typing import Any

import torch

OPERATIONS = (
    "silu_backward", "mish_backward", "native_channel_shuffle", "_fused_rms_norm", "_fused_rms_norm_backward",
)  # fmt: skip


def install_fused() -> Any:
    """Registers the stubs; they last as long as what is returned."""
    library = torch.library.Library("aten", "IMPL")

    def stub(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a kernel of the declared device was called; tensors on it must be fake")

    for name in OPERATIONS:
        library.impl(name, stub, "CUDA")
    return library
