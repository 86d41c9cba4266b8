"""The functions of ``torch._C`` and ``torch.cuda`` that a build without CUDA lacks, for the declared device."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from controller.capture.inside.held import Held
from controller.capture.inside.log import Log

DeviceFacts = dict[str, Any]
"""``name``, ``memory_bytes``, ``capability`` (major, minor), ``sm_count`` and ``count`` of the declared device."""


def install_functions(shim: Any, log: Log, held: Held, facts: DeviceFacts) -> None:
    """Gives torch every function that its CUDA part in Python asks for."""
    count, capability = facts["count"], tuple(facts["capability"])
    shim.set_count(count)

    def exchange(device: int) -> int:
        before: int = shim.current_device()
        if device >= 0:
            shim.set_device(device)
        return before

    def set_stream(stream_id: int, device_index: int, device_type: int) -> None:
        stream = torch.Stream(stream_id=stream_id, device_index=device_index, device_type=device_type)
        torch._C._accelerator_setStream(stream)

    def synchronize(*_: Any) -> None:
        log.add("sync", "device", 0, log.line())

    c_functions: dict[str, Any] = {
        "_cuda_init": _nothing,
        "_cuda_getDeviceCount": lambda: count,
        "_cuda_isInBadFork": lambda: False,
        "_cuda_getDevice": shim.current_device,
        "_cuda_setDevice": exchange,
        "_cuda_exchangeDevice": exchange,
        "_cuda_maybeExchangeDevice": exchange,
        "_cuda_getCompiledVersion": lambda: 12080,
        "_cuda_getArchFlags": lambda: "sm_{}{}".format(*capability),
        "_cuda_canDeviceAccessPeer": lambda first, second: True,
        "_cuda_synchronize": synchronize,
        "_cuda_ipc_collect": _nothing,
        "_cuda_emptyCache": lambda *_: log.add("empty_cache"),
        "_cuda_memoryStats": lambda device: held.statistics(),
        "_cuda_resetPeakMemoryStats": lambda device: held.reset_peak(),
        "_cuda_resetAccumulatedMemoryStats": _nothing,
        "_cuda_memorySnapshot": lambda *_: {"segments": [], "device_traces": []},
        "_cuda_setMemoryFraction": _nothing,
        "_cuda_getMemoryFraction": lambda *_: 1.0,
        "_cuda_cudaHostAllocator": lambda: 0,
        "_cuda_getAllocatorBackend": lambda: "native",
        "_cuda_get_sync_debug_mode": lambda: 0,
        "_cuda_set_sync_debug_mode": _nothing,
        "_cuda_isCurrentStreamCapturing": lambda: False,
        "_cuda_hasPrimaryContext": lambda device: True,
        "_cuda_setStream": set_stream,
        "_cuda_is_jiterator_enabled": lambda: False,
        "_cuda_record_memory_history": _nothing,
        "_cuda_getCurrentBlasHandle": lambda: 0,
        "_cuda_clearCublasWorkspaces": _nothing,
        "_cuda_getCurrentStream": lambda device: (shim.current_stream(max(device, 0)), max(device, 0), 1),
        "_cuda_getDefaultStream": lambda device: (0, max(device, 0), 1),
        "_cuda_getCurrentRawStream": lambda device: shim.current_stream(max(device, 0)),
        "_host_emptyCache": _nothing,
    }
    for name, function in c_functions.items():
        setattr(torch._C, name, _own(function))
    cuda: Any = torch.cuda
    properties = _properties(facts)
    memory = facts["memory_bytes"]

    def mem_get_info(device: Any = None) -> tuple[int, int]:
        return memory - held.bytes, memory

    answers: dict[str, Any] = {
        "_is_compiled": lambda: True,
        "is_available": lambda: True,
        "device_count": lambda: count,
        "is_initialized": lambda: True,
        "_initialized": True,
        "_lazy_init": _nothing,
        "_lazy_call": _nothing,
        "is_bf16_supported": lambda *_, **__: capability >= (8, 0),
        "get_arch_list": lambda: ["sm_{}{}".format(*capability)],
        "get_device_properties": lambda device=None: properties,
        "_get_device_properties": lambda device=None: properties,
        "get_device_name": lambda device=None: facts["name"],
        "get_device_capability": lambda device=None: capability,
        "_exchange_device": exchange,
        "_maybe_exchange_device": exchange,
        "synchronize": synchronize,
        "mem_get_info": mem_get_info,
    }
    for name, answer in answers.items():
        setattr(cuda, name, _own(answer) if callable(answer) else answer)
    cuda.memory.mem_get_info = mem_get_info
    torch.backends.cuda.is_built = lambda: True
    torch.version.cuda = "12.8"
    _install_random(cuda)
    accelerator: Any = torch.accelerator
    for place in (accelerator, accelerator.memory):
        place.memory_stats = lambda device=None: cuda.memory_stats()
        place.reset_peak_memory_stats = lambda device=None: held.reset_peak()


def _install_random(cuda: Any) -> None:
    def state(device: Any = None) -> torch.Tensor:
        return torch.zeros(16, dtype=torch.uint8)

    for place in (cuda, cuda.random):
        place.get_rng_state = _own(state)
        place.set_rng_state = _own(_nothing)
        place.get_rng_state_all = lambda: [state()]
        place.set_rng_state_all = _own(_nothing)
        for name in ("manual_seed", "manual_seed_all", "seed", "seed_all"):
            setattr(place, name, _own(_nothing))


def _own(function: Any) -> Any:
    """The same function as an object of its own: torch refuses one object under two names."""

    def answer(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return answer


def _nothing(*_: Any, **__: Any) -> None:
    return None


def _properties(facts: DeviceFacts) -> Any:
    major, minor = facts["capability"]
    return SimpleNamespace(
        name=facts["name"],
        major=major,
        minor=minor,
        total_memory=facts["memory_bytes"],
        multi_processor_count=facts["sm_count"],
        is_integrated=False,
        is_multi_gpu_board=False,
        max_threads_per_multi_processor=2048,
        max_threads_per_block=1024,
        warp_size=32,
        gcnArchName="",
        regs_per_multiprocessor=65536,
        L2_cache_size=facts["l2_bytes"],
        shared_memory_per_block=49152,
        shared_memory_per_block_optin=232448,
        shared_memory_per_multiprocessor=233472,
        uuid="GPU-declared",
        pci_bus_id=0,
    )
