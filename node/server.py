"""The process that nodes are forked from: it imports torch once, so that each of them starts in milliseconds.

It serves nothing itself and starts no thread, so that a fork is safe; gRPC starts in the children. It ends, with every
node and the run directory, when its control pipe closes (the controller has ended, however it did), on SIGTERM, or on
SIGINT. A node ends with it, however it ends, because the kernel is asked to see to that.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import resource
import select
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from node.errors import UserInput
from node.protocol import ARBITER, CLUSTER_FILE, CREDENTIALS_FILE, PROCESSES_FILE

STOPPED = "it was told to stop while it started (`windtunnel down`, or SIGTERM); start it again"

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_OPEN_FILES = 65_536


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of ``python -m node.server``."""
    parser = argparse.ArgumentParser(prog="node.server", description="Forks the nodes of one run.")
    parser.add_argument("directory", type=Path, help="run directory with cluster.json")
    parser.add_argument("--control", type=int, default=-1, help="descriptor whose end of file ends the run")
    parser.add_argument("--report", type=int, required=True, help="descriptor that gets one JSON object a line")
    chosen = parser.parse_args(arguments)
    server = ForkServer(chosen.directory, chosen.control, chosen.report)
    try:
        server.start()
        server.watch()
    except UserInput as error:
        server.stop()
        server.tell({"failed": "the fork server", "type": type(error).__name__, "text": str(error)})
        sys.stderr.write(f"node.server: {error}\n")
        return 2
    except Exception:
        server.stop()  # the directory stays: its logs say why
        raise
    if server.asked_to_stop:  # whoever still waits for the start hears why it does not come
        server.tell({"failed": "the fork server", "type": "ShuttingDown", "text": STOPPED})
    server.stop()
    shutil.rmtree(chosen.directory, ignore_errors=True)
    return 0


Serve = Callable[[Callable[[str], None]], None]
"""Serves until it is told to end; calls its argument with where it listens, once it is ready."""


class ForkServer:
    """The nodes of one run as child processes.

    Attributes:
        asked_to_stop: a signal said so.
    """

    def __init__(self, directory: Path, control: int, report: int) -> None:
        self._directory, self._control, self._report = directory, control, report
        self._children: dict[int, tuple[str, ...]] = {}
        self._wakeup, self._woken = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.asked_to_stop = False

    def start(self) -> None:
        """Imports what nodes need and forks them."""
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._asked_to_stop)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
        cluster = json.loads((self._directory / CLUSTER_FILE).read_text())
        starts = _starts(cluster, self._directory)
        gc.collect()
        gc.freeze()  # the collector would write into every shared page
        for names, serve in starts.items():
            self._children[self._fork(names, serve)] = names
        processes = {name: pid for pid, names in self._children.items() for name in names}
        text = json.dumps({"server": os.getpid(), "nodes": processes})
        fresh = self._directory / (PROCESSES_FILE + ".new")
        fresh.write_text(text)
        fresh.replace(self._directory / PROCESSES_FILE)
        self.tell({"started": processes})

    def watch(self) -> None:
        """Reports nodes that end, until it is time to stop."""
        watched = [self._wakeup] + ([self._control] if self._control >= 0 else [])
        while not self.asked_to_stop:
            readable, _, _ = select.select(watched, [], [])
            if self._wakeup in readable:
                os.read(self._wakeup, 4096)
            if self._control in readable and not os.read(self._control, 4096):
                return
            self._reap()

    def stop(self) -> None:
        """Ends every node."""
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
        for pid in self._children:
            os.waitpid(pid, 0)
        self._children.clear()

    def tell(self, message: Mapping[str, Any]) -> None:
        """Reports to the controller, if it still listens."""
        _tell(self._report, message)

    def _asked_to_stop(self, *_: object) -> None:
        self.asked_to_stop = True

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            for name in self._children.pop(pid, ()):
                self.tell({"exited": name, "how": _how(status)})

    def _fork(self, names: tuple[str, ...], serve: Serve) -> int:
        parent = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            self._become_node(names, parent)
            serve(lambda target: self._ready(names, target))
            code = 0
        except BaseException as error:
            traceback.print_exc()
            _tell(self._report, {"failed": names[0], "type": type(error).__name__, "text": str(error)})
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _ready(self, names: tuple[str, ...], target: str) -> None:
        for name in names:
            _tell(self._report, {"ready": name, "target": target})

    def _become_node(self, names: tuple[str, ...], parent: int) -> None:
        """Undoes what only the server needs."""
        name = names[0]
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)  # it ended before the kernel was asked
        libc.prctl(_PR_SET_NAME, f"wt-{name}"[:15].encode())
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.close(self._wakeup)
        os.close(self._woken)
        if self._control >= 0:
            os.close(self._control)
        log = os.open(self._directory / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        for other in names[1:]:  # who looks for the log of any device finds that of its process
            (self._directory / f"{other}.log").symlink_to(f"{name}.log")


def _starts(cluster: Mapping[str, Any], directory: Path) -> dict[tuple[str, ...], Serve]:
    """What each process does, by the devices that it carries; imports everything that any of them needs."""
    from node.memory.tensors import set_single_thread
    from node.runtime.parts import NodeConfig
    from node.runtime.peers import Address
    from node.service.host import serve_arbiter, serve_node, serve_nodes
    from node.wire.credentials import check_target, credentials_from_data
    from node.wire.specs import spec_from_data

    set_single_thread()
    secured = cluster.get("secured", False)
    shown = json.loads((directory / CREDENTIALS_FILE).read_text()) if secured else {}
    credentials = {name: credentials_from_data(entry) for name, entry in shown.items()}
    for target in (*(entry["target"] for entry in cluster["devices"].values()), *filter(None, [cluster["arbiter"]])):
        check_target(target, next(iter(credentials.values()), None))
    # Beyond this machine the system chooses ports, and the controller says later who listens where.
    addresses = (
        {} if secured else {name: Address(entry["target"], entry["host"]) for name, entry in cluster["devices"].items()}
    )
    links: dict[str, float] = cluster["links"]
    starts: dict[tuple[str, ...], Serve] = {}
    processes: dict[str, list[NodeConfig]] = {}
    for name, entry in cluster["devices"].items():
        config = NodeConfig(
            device=name,
            host=entry["host"],
            spec=spec_from_data(entry["spec"]),
            target=entry["target"],
            flash_folder=Path(cluster["flash_folder"]) / name,
            epoch=cluster["epoch"],
            dilation=cluster["dilation"],
            peers={peer: address for peer, address in addresses.items() if peer != name},
            links=links,
            arbiter="" if secured else cluster["arbiter"],
            credentials=credentials[name] if secured else None,
            share_memory=cluster.get("share_memory", True),
            take_over=cluster.get("take_over", False),
        )
        processes.setdefault(entry.get("process", name), []).append(config)
        if any(tier.storage == "flash" for tier in config.spec.tiers.values()):
            import zarr.storage  # noqa: F401  (half a second that the nodes then share)
    for configs in processes.values():
        configs = [replace(config, sharing=len(configs)) for config in configs]
        names = tuple(config.device for config in configs)
        starts[names] = partial(serve_node, configs[0]) if len(configs) == 1 else partial(serve_nodes, configs)
    if cluster["arbiter"]:
        starts[(ARBITER,)] = partial(
            serve_arbiter,
            cluster["arbiter"],
            links,
            cluster["epoch"],
            cluster["dilation"],
            credentials[ARBITER] if secured else None,
        )
    return starts


def _tell(descriptor: int, message: Mapping[str, Any]) -> None:
    try:
        os.write(descriptor, json.dumps(message).encode() + b"\n")
    except OSError:
        return  # nobody listens any more


def _how(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"killed by signal {os.WTERMSIG(status)} ({signal.Signals(os.WTERMSIG(status)).name})"
    return f"ended with exit status {os.waitstatus_to_exitcode(status)}"


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)  # taking torch and zarr apart takes half a second, for which the controller waits
