"""Captures a program, times it on the declared cluster, and says what it came to."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from controller.capture.errors import BadProgram
from controller.capture.launcher import capture_ranks
from controller.capture.memory import memory_of
from controller.capture.request import CaptureRequest
from controller.capture.result import CallShare, CapturedResult
from controller.capture.timing.faults import struck_devices
from controller.capture.timing.run import PlayedSteps, play
from controller.capture.trace import RankTrace, digest_of_step
from controller.collectives.group import Group
from controller.execute.intervals import length, union
from controller.program.run import ProgressSink
from node.hardware.peak import choose_unit, peak_flop_per_s

MOST_STRUCK = 8
"""Ranks that faults may strike by themselves."""


def run_captured(
    request: CaptureRequest, *, check: bool = True, progress: ProgressSink | None = None
) -> tuple[CapturedResult, PlayedSteps]:
    """Runs a program as rank 0 of the declared cluster, with the ranks that it exchanges messages with.

    Args:
        request: what to capture.
        check: whether the last rank is captured too, and compared.
        progress: where progress goes.
    """
    group = request.group()
    last = group.world_size - 1
    struck = [group.devices.index(device) for device in struck_devices(request.topology, group.devices)]
    if len(struck) > MOST_STRUCK:
        raise BadProgram(
            f"faults strike {len(struck)} of the ranks by themselves, and each has to be captured; let them strike at "
            f"most {MOST_STRUCK}"
        )
    wanted = list(dict.fromkeys([0, *struck, *([last] if check and last > 0 else [])]))
    traces = capture_ranks(request, group, wanted, progress=progress)
    players, equal = _players(traces, group, struck)
    if progress is not None:
        progress(1, 1, "timing the step")
    played = play(request.topology, group, players)
    return result_of(request, group, players, equal, played), played


def _players(
    traces: Mapping[int, RankTrace], group: Group, struck: Sequence[int]
) -> tuple[dict[int, RankTrace], dict[int, str]]:
    """Rank 0 with all that it reaches through messages, and what each of them stands for."""
    chosen, queue = {0}, [0]
    while queue:
        for peer in traces[queue.pop()].peers:
            if peer in traces and peer not in chosen:
                chosen.add(peer)
                queue.append(peer)
    players = {rank: traces[rank] for rank in sorted(chosen)}
    digests = {rank: digest_of_step(trace, trace.steps - 1) for rank, trace in traces.items()}
    equal: dict[int, str] = {}
    for rank in players:
        same = [str(other) for other in traces if other not in players and digests[other] == digests[rank]]
        checked = f"; checked on rank {', '.join(same)}" if same else "; not checked on another rank"
        share = f"1 of {len(players)} kinds of rank" if len(players) > 1 else f"all {group.world_size} ranks"
        equal[rank] = f"stands for {share}{checked}"
    for rank in struck:
        players[rank] = traces[rank]
        equal[rank] = "is struck by a fault, so it is timed for itself"
    for rank, trace in traces.items():
        if rank not in players and digests[rank] not in {digests[other] for other in players}:
            # It does something else (another size of shard, say), so it plays itself.
            players[rank] = trace
            equal[rank] = "does otherwise than the others, so it is timed for itself"
    return dict(sorted(players.items())), equal


def result_of(
    request: CaptureRequest,
    group: Group,
    players: Mapping[int, RankTrace],
    equal: Mapping[int, str],
    played: PlayedSteps,
) -> CapturedResult:
    """The measured step in numbers."""
    first = next(iter(players))
    spec = request.topology.devices[group.devices[first]].spec
    step = len(played.step_s)
    forward, whole = Counter[int](), Counter[int]()
    shares: dict[tuple[str, str, bool], list[float]] = defaultdict(lambda: [0, 0.0])
    for note in played.notes:
        if note.step != step:
            continue
        whole[note.player] += int(note.flop)
        forward[note.player] += 0 if note.is_backward else int(note.flop)
        entry = shares[note.name.split(" ")[0], note.kind, note.is_known]
        entry[0] += 1
        began, ended = played.span(note)
        entry[1] += ended - began
    calls = [CallShare(name, kind, int(count), time, known) for (name, kind, known), (count, time) in shares.items()]
    tokens, tokens_from = _tokens(players, group, step)
    busy = [_busy(played, index, step) for index in range(len(players))]
    memory = {
        rank: memory_of(
            trace, next(iter(request.topology.devices[group.devices[rank]].spec.tiers.values())).capacity_bytes
        )
        for rank, trace in players.items()
    }
    notes = [note for trace in players.values() for note in trace.notes]
    trace = players[first]
    is_steady = trace.steps > 2 and digest_of_step(trace, trace.steps - 1) == digest_of_step(trace, trace.steps - 2)
    return CapturedResult(
        step_s=played.step_s,
        is_steady=is_steady,
        ranks=group.world_size,
        equal=equal,
        tokens=tokens,
        tokens_from=tokens_from,
        flop=max(whole.values(), default=0),
        forward_flop=sum(forward.values()) / len(players),
        peak_flop_per_s=peak_flop_per_s(choose_unit(spec, "tensor"), "bf16", spec.product),
        communication_s=busy[0][0],
        exposed_s=busy[0][1],
        idle_s=max(idle for _, _, idle in busy),
        memory=memory,
        calls=tuple(sorted(calls, key=lambda each: (-each.time_s, each.name))),
        notes=tuple(dict.fromkeys(notes)),
    )


def _busy(played: PlayedSteps, player: int, step: int) -> tuple[float, float, float]:
    """Seconds of collectives, of collectives without kernels, and of nothing, in the measured step."""
    window = (played.measured_from, played.measured_to)

    def covered(kinds: tuple[str, ...]) -> float:
        spans = [played.span(note) for note in played.notes if note.player == player and note.kind in kinds]
        ends = np.clip(np.array(spans).reshape(-1, 2), *window)
        return length(union(ends[:, 0], ends[:, 1]))

    kernels, calls, both = covered(("kernel",)), covered(("collective",)), covered(("kernel", "collective"))
    return calls, both - kernels, window[1] - window[0] - both


def _seen(trace: RankTrace, step: int, name: str) -> int:
    """Elements of the second operand of calls of that name in a step, of the table that takes most."""
    seen: Counter[int] = Counter()
    for event in trace.step(step):
        if event[0] == "kernel" and trace.signatures[event[1]].name.startswith(name) and not event[4]:
            call = trace.signatures[event[1]]
            seen[call.inputs[0].elements if name.startswith("aten.embedding") else 0] += call.inputs[1].elements
    return max(seen.values(), default=0)


def _tokens(players: Mapping[int, RankTrace], group: Group, step: int) -> tuple[int, str]:
    """Tokens of all ranks in a step: targets of the loss, over the ranks that share them."""
    targets, what = (
        max(_seen(trace, step, "aten.nll_loss_forward") for trace in players.values()),
        "targets of the loss",
    )
    if not targets:
        targets, what = max(_seen(trace, step, "aten.embedding.") for trace in players.values()), "embedded tokens"
    if not targets:
        return 0, "neither a cross entropy nor an embedding was seen"
    trace = next(iter(players.values()))
    shared, names = 1, []
    for name, ranks in trace.groups.items():
        text = trace.descriptions.get(name, "")
        if text in ("mesh_tp", "mesh_pp") and len(ranks) > 1:
            shared *= len(ranks)
            names.append(f"{text.removeprefix('mesh_')} {len(ranks)}")
    how = f"{targets} {what} on a rank x {group.world_size} ranks"
    return targets * group.world_size // shared, how + (f" / ({', '.join(names)})" if names else "")
