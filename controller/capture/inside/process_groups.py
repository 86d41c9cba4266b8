"""Lets ``torch.distributed`` make logged groups, whatever backend the program asks for."""

from __future__ import annotations

import os
from typing import Any

import torch.distributed as dist
import torch.distributed.distributed_c10d as c10d
from torch.distributed import device_mesh

from controller.capture.inside.log import Log
from controller.capture.inside.mailbox import Mailbox
from controller.capture.inside.process_group import LoggedGroup

_BACKEND = "captured"


class _EmptyStore(dist.Store):
    pass


def install_groups(log: Log, shim: Any, shadows: Any, mailbox: Mailbox) -> None:
    """Replaces how process groups are made, and what exchanges Python objects."""
    LoggedGroup.log, LoggedGroup.shim, LoggedGroup.shadows = log, shim, shadows
    torch_c10d: Any = c10d
    torch_dist: Any = dist

    def create(given: Any, options: Any = None) -> LoggedGroup:
        return LoggedGroup(given.group_rank, given.group_size, str(given.group_id))

    dist.Backend.register_backend(_BACKEND, create, extended_api=True, devices=["cuda", "cpu"])
    begin, make = torch_c10d.init_process_group, torch_c10d._new_process_group_helper

    def make_group(size: int, rank: int, ranks: Any, backend: Any, store: Any, *more: Any, **named: Any) -> Any:
        made = make(size, rank, ranks, _BACKEND, store, *more, **{**named, "backend_options": None})
        group = made[0] if isinstance(made, tuple) else made
        if isinstance(group, LoggedGroup):
            log.groups[group.group_name] = list(ranks) or list(range(size))
        return made

    def begin_group(backend: Any = None, init_method: Any = None, *_: Any, **__: Any) -> Any:
        world, rank = int(os.environ["WORLD_SIZE"]), int(os.environ["RANK"])
        return begin(_BACKEND, world_size=world, rank=rank, store=_EmptyStore())

    torch_c10d._new_process_group_helper = make_group
    torch_c10d.init_process_group = torch_dist.init_process_group = begin_group
    torch_c10d.is_nccl_available = torch_dist.is_nccl_available = lambda: True
    torch_c10d.get_backend = torch_dist.get_backend = lambda group=None: "nccl"
    torch_dist.monitored_barrier = torch_c10d.monitored_barrier = lambda *_, **__: None

    if not hasattr(torch_dist, "set_timeout"):
        # Of later versions than some that are installed; programs shorten the time after their first step.
        torch_dist.set_timeout = lambda *_, **__: None
    meshes: Any = device_mesh
    # A mesh begins the group of all ranks where the program has not.
    meshes.init_process_group = begin_group
    plain = meshes.init_device_mesh

    def make_mesh(device_type: str, mesh_shape: Any, *, mesh_dim_names: Any = None, **given: Any) -> Any:
        made = plain(device_type, mesh_shape, mesh_dim_names=mesh_dim_names, **given)
        for name, size in zip(mesh_dim_names or (), mesh_shape, strict=False):
            if size == int(os.environ["WORLD_SIZE"]) > 1:
                # An axis over all ranks has the group of all of them, which bears no name of an axis.
                log.descriptions[made.get_group(name).group_name] = f"mesh_{name}"
        return made

    meshes.init_device_mesh = torch_dist.init_device_mesh = make_mesh

    together = torch_c10d.batch_isend_irecv

    def batch(messages: Any) -> Any:
        log.add("coalesce", "")
        works = together(messages)
        log.add("coalesced", "", 0)
        return works

    torch_c10d.batch_isend_irecv = torch_dist.batch_isend_irecv = batch

    def all_gather_object(found: list[Any], given: Any, group: Any = None) -> None:
        found[:] = [given] * len(found)

    def gather_object(given: Any, found: list[Any] | None = None, *_: Any, **__: Any) -> None:
        if found is not None:
            found[:] = [given] * len(found)

    torch_c10d.all_gather_object = torch_dist.all_gather_object = all_gather_object
    torch_c10d.gather_object = torch_dist.gather_object = gather_object
    torch_c10d.broadcast_object_list = torch_dist.broadcast_object_list = lambda *_, **__: None

    def send(
        objects: Any, dst: Any = None, group: Any = None, device: Any = None, group_dst: Any = None, **_: Any
    ) -> None:
        mailbox.send(_global(group, dst, group_dst), list(objects))

    def receive(
        objects: Any, src: Any = None, group: Any = None, device: Any = None, group_src: Any = None, **_: Any
    ) -> int:
        source = _global(group, src, group_src)
        objects[:] = mailbox.receive(source)
        return source

    torch_c10d.send_object_list = torch_dist.send_object_list = send
    torch_c10d.recv_object_list = torch_dist.recv_object_list = receive
    _skip_checks()


def _global(group: Any, rank: Any, in_group: Any) -> int:
    return int(rank) if rank is not None else dist.get_global_rank(group or dist.group.WORLD, in_group)


def _skip_checks() -> None:
    """Checks across ranks at the start, which compare values: ranks that are like this one have the same."""
    from contextlib import nullcontext

    import torch.distributed.tensor._random as random_of_tensors
    import torch.distributed.utils as utils
    import torch.nn.parallel.distributed as parallel

    for module in (utils, parallel):
        for name in ("_verify_param_shape_across_processes", "_sync_module_states"):
            if hasattr(module, name):
                setattr(module, name, lambda *_, **__: None)
    tracker: Any = random_of_tensors.OffsetBasedRNGTracker
    tracker._distribute_region = lambda self, *_, **__: nullcontext()
