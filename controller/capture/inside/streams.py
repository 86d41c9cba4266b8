"""``torch.cuda.Stream``, ``Event`` and graphs over the generic ones of torch, which the shim's guard carries."""

from __future__ import annotations

from typing import Any

import torch


def install_streams(shim: Any) -> None:
    """Replaces the classes of ``torch.cuda`` that a build without CUDA only has as stubs."""
    cuda: Any = torch.cuda

    def here() -> torch.device:
        return torch.device("cuda", shim.current_device())

    class DeclaredStream(torch.Stream):
        def __new__(cls, device: Any = None, priority: int = 0, **given: Any) -> Any:
            if "stream_id" in given:
                return super().__new__(cls, **given)
            if device is None:
                place = here()
            else:
                place = torch.device("cuda", device) if isinstance(device, int) else torch.device(device)
            return super().__new__(cls, place, priority=priority)

        @property
        def cuda_stream(self) -> int:
            return int(self.stream_id)

        def record_event(self, event: Any = None) -> Any:
            event = DeclaredEvent() if event is None else event
            event.record(self)
            return event

        def wait_event(self, event: Any) -> None:
            event.wait(self)

        def wait_stream(self, stream: Any) -> None:
            self.wait_event(stream.record_event())

    class DeclaredEvent(torch.Event):
        def __new__(
            cls, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False, external: bool = False
        ) -> Any:
            return super().__new__(cls, here(), enable_timing=enable_timing, blocking=blocking)

        def record(self, stream: Any = None) -> None:
            torch.Event.record(self, cuda.current_stream() if stream is None else stream)

        def elapsed_time(self, end_event: Any) -> float:
            return 1.0

        def wait(self, stream: Any = None) -> None:
            torch.Event.wait(self, cuda.current_stream() if stream is None else stream)

    class CUDAGraph:
        def __init__(self, *_: Any, **__: Any) -> None:
            raise RuntimeError(
                "CUDA graphs cannot be captured: a replay would hide its kernels from the timing; run the program "
                "without them"
            )

    for made, name in ((DeclaredStream, "Stream"), (DeclaredEvent, "Event"), (CUDAGraph, "CUDAGraph")):
        made.__module__, made.__name__, made.__qualname__ = "torch.cuda", name, name
    cuda.Stream = cuda.streams.Stream = DeclaredStream
    cuda.Event = cuda.streams.Event = DeclaredEvent
    cuda.CUDAGraph = cuda.graphs.CUDAGraph = CUDAGraph
    cuda.graph_pool_handle = cuda.graphs.graph_pool_handle = lambda: (0, 1)
