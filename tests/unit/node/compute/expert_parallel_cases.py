"""Launches of experts on several devices, for the conformance suite."""

from __future__ import annotations

import numpy as np

FP, F32, I64, I8 = "fp", "fp32", "int64", "int8"


def slots(experts, placement, first=0):
    found = np.zeros_like(experts)
    for (row, column), expert in np.ndenumerate(experts):
        copies = [slot for slot, held in enumerate(placement) if held == expert]
        found[row, column] = copies[(row + first) % len(copies)]
    return (found,)


def send(x, chosen, per_rank):
    order = [i for slot in range(4) for i in range(chosen.size) if chosen.flat[i] == slot]
    k = chosen.shape[1]
    of_rank = [[i for i in order if chosen.flat[i] // per_rank == rank] for rank in range(2)]
    return (*[x[[i // k for i in rows]] for rows in of_rank], np.array(order))


def receive(*operands):
    *messages, counts = operands
    everything, source_slots = np.concatenate(messages), []
    for source in counts:
        for slot, count in enumerate(source):
            source_slots += [slot] * int(count)
    order = [i for slot in range(counts.shape[1]) for i, own in enumerate(source_slots) if own == slot]
    ends = np.cumsum(counts.sum(0))
    return everything[order], np.array(order), ends


def give_back(rows, origin):
    whole = np.zeros_like(rows)
    for row, at in zip(rows, origin, strict=True):
        whole[at] = row
    return whole[:2], whole[2:]


def combine(*operands):
    *back, order, weights = operands
    out = np.zeros((len(weights), back[0].shape[1]))
    for row, choice in zip(np.concatenate(back), order, strict=True):
        out[choice // weights.shape[1]] += weights.flat[choice] * row
    return (out,)


def quantise(x, tail):
    message = np.zeros((len(x), x.shape[1] + tail), dtype=np.int8)
    for row, values in enumerate(x.astype(np.float32)):
        scale = np.float32(np.abs(values).max() / np.float32(127.0))
        message[row, : x.shape[1]] = np.round(values / scale)
        message[row, x.shape[1] : x.shape[1] + 4] = np.frombuffer(scale.tobytes(), np.int8)
    return (message,)


def dequantise(message, tail):
    columns = message.shape[1] - tail
    scales = np.array([np.frombuffer(row[columns : columns + 4].tobytes(), np.float32)[0] for row in message])
    return (message[:, :columns] * scales[:, None],)


def cases(case):
    """Launches by operation, each made by `case`."""
    message = quantise(np.random.default_rng(0).standard_normal((3, 5)), 8)[0]
    return {
        "expert_slots": (
            case((((3, 2), I64),), (((3, 2), I64),), slots, {"placement": (2, 0, 1, 4, 3, 0)}),
            case((((3, 2), I64),), (((3, 2), I64),), slots, {"placement": (2, 0, 1, 4, 3, 0), "first": 1}),
        ),
        "expert_counts": (
            case((((3, 2), I64),), (((6,), I64),), lambda s, count: (np.bincount(s.reshape(-1), minlength=count),),
                 {"count": 6}),
        ),
        "expert_send": (
            case((((3, 5), FP), ((3, 2), I64)), (((3, 5), FP), ((3, 5), FP), ((6,), I64)), send, {"per_rank": 2},
                 given={1: ((3, 0), (1, 2), (0, 3))}),
        ),
        "expert_receive": (
            case((((3, 5), FP), ((4, 5), FP), ((2, 3), I64)), (((7, 5), FP), ((7,), I64), ((3,), I64)), receive,
                 given={2: ((2, 0, 1), (1, 3, 0))}),
        ),
        "expert_return": (
            case((((5, 4), FP), ((5,), I64)), same((2, 4), (3, 4)), give_back, given={1: (3, 0, 4, 1, 2)}),
        ),
        "expert_combine": (
            case((((2, 5), FP), ((4, 5), FP), ((6,), I64), ((3, 2), F32)), same((3, 5)), combine,
                 given={2: (4, 0, 2, 5, 1, 3)}),
        ),
        "quantise_message": (case(same((3, 5)), (((3, 13), I8),), quantise, {"tail": 8}),),
        "dequantise_message": (
            case((((3, 13), I8),), same((3, 5)), dequantise, {"tail": 8}, given={0: message.tolist()}),
        ),
    }  # fmt: skip


def same(*shapes):
    return tuple((shape, FP) for shape in shapes)
