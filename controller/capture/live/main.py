"""One live rank: ``python -m controller.capture.live.main PROGRAM [ARGS]`` with the variables of torchrun.

The program's process groups are those of the backend ``windtunnel``, whatever it asks for.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.distributed_c10d as c10d

from controller.capture.live.backend import NAME, register


def main() -> None:
    """Runs the program as ``__main__``."""
    torch.set_num_threads(1)
    register()
    torch_c10d: Any = c10d
    begin, make = torch_c10d.init_process_group, torch_c10d._new_process_group_helper

    def begin_group(backend: Any = None, *more: Any, **named: Any) -> Any:
        return begin(NAME, *more, **{**named, "device_id": None})

    def make_group(size: int, rank: int, ranks: Any, backend: Any, *more: Any, **named: Any) -> Any:
        return make(size, rank, ranks, NAME, *more, **{**named, "backend_options": None})

    torch_dist: Any = dist
    torch_c10d.init_process_group = torch_dist.init_process_group = begin_group
    torch_c10d._new_process_group_helper = make_group
    program = sys.argv[1]
    sys.argv = sys.argv[1:]
    sys.path[0] = str(Path(program).resolve().parent)
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main()
