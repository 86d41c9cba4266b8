"""Copies into main memory that a framework has just asked for: every page of it is faulted in before it is written.

Model: an allocation larger than what the C library keeps is mapped anew, and its pages come one by one at the first
    access: the kernel is entered, a page is taken and zeroed. The thread that copies pays that for each page between
    two pieces of its copy, so that the times of both add up.
Source: glibc manual, 'Malloc Tunable Parameters' (M_MMAP_THRESHOLD: larger blocks are mapped, and unmapped when they
    are freed); PyTorch's allocator for CPUs keeps nothing (c10/core/CPUAllocator.cpp). `FAULT_S` was measured by
    others, with the cycle counter on a Core of the 11th generation under Linux 6.6 (3,241 cycles at the median, 1,842
    at least, ddumbying.vercel.app/experiments/pagefault-latency); another processor is assumed to take as long.
Valid for: pages of 4 KiB, one thread; not for memory that is pinned or used again.
Not modelled: huge pages, which some systems give to such blocks without being asked; giving pages back.
"""

from __future__ import annotations

from typing import Final

from controller.topology.schema import Device
from node.hardware.units import KIBI

PAGE_BYTES: Final = 4 * KIBI
FAULT_S: Final = 1.01e-6
"""Assumed: of a fault that finds a free page [s]."""


def fresh_bytes_per_s(gpu: Device) -> float:
    """Rate of a pageable copy from `gpu` into memory that nobody has touched [bytes/s]; 0 where no port has a rate."""
    rates = [port.pageable_bytes_per_s for port in gpu.spec.ports.values() if port.pageable_bytes_per_s]
    return 1.0 / (1.0 / min(rates) + FAULT_S / PAGE_BYTES) if rates else 0.0
