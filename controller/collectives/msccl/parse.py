"""Reads an MSCCL file: every value checked, no document type, no entities, nothing fetched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from controller.collectives.errors import BadCall
from controller.collectives.msccl.program import BUFFERS, TYPES, MscclStep, Program, Threadblock
from controller.topology.nearest import hint

MOST_BYTES = 64 << 20
"""Largest file that is read [bytes]."""
MOST_STEPS = 30_000
"""Most steps of a file: the proof notes for each which others come before it."""
MOST = 1 << 20
"""Largest number that a file may hold, but for sizes in bytes."""

COLLECTIVES = {
    "allreduce": "all_reduce",
    "allgather": "all_gather",
    "reducescatter": "reduce_scatter",
    "alltoall": "all_to_all",
}
"""Their word, without underscores, to ours."""

_INSIDE = {"": "algo", "algo": "gpu", "gpu": "tb", "tb": "step"}


@dataclass(slots=True)
class _Element:
    tag: str
    attributes: Mapping[str, str]
    line: int
    children: list[_Element] = field(default_factory=list)


def parse(path: str) -> Program:
    """The program of a file.

    Raises:
        BadCall: a file that cannot be read or has another format; says file and line.
    """
    root = _tree(path, _text(path))
    collective = root.attributes.get("coll", "").replace("_", "").lower()
    if collective not in COLLECTIVES:
        raise _wrong(path, root, f"coll is {root.attributes.get('coll')!r}; known are {', '.join(COLLECTIVES)}")
    size = _number(path, root, "ngpus", least=1)
    gpus = {_number(path, gpu, "id"): gpu for gpu in root.children}
    if sorted(gpus) != list(range(size)) or len(root.children) != size:
        raise _wrong(path, root, f"ngpus is {size} and the gpus have the ids {sorted(gpus)}; give 0 to {size - 1} once")
    ordered = [gpus[rank] for rank in range(size)]
    most = max(_number(path, gpu, key, default=0) for gpu in ordered for key in ("i_chunks", "o_chunks"))
    chunks = _number(path, root, "nchunksperloop", default=most)
    if chunks < 1:
        raise _wrong(path, root, "there are no chunks; give nchunksperloop, or i_chunks and o_chunks")
    count = sum(len(block.children) for gpu in ordered for block in gpu.children)
    if count > MOST_STEPS:
        raise _wrong(path, root, f"{count} steps; an algorithm may have {MOST_STEPS}")
    name = COLLECTIVES[collective]
    if name != "all_reduce" and chunks % size:
        raise _wrong(path, root, f"{chunks} chunks of {name} cannot be shared by {size} ranks evenly")
    in_place = bool(_number(path, root, "inplace", default=0))
    out_of_place = bool(_number(path, root, "outofplace", default=int(not in_place)))
    return Program(
        path,
        root.attributes.get("name", Path(path).stem),
        name,
        tuple(_threadblocks(path, gpu, rank, size) for rank, gpu in enumerate(ordered)),
        chunks,
        tuple(_number(path, gpu, "s_chunks", default=0) for gpu in ordered),
        in_place,
        out_of_place,
        _number(path, root, "minBytes", default=0, most=1 << 62),
        _number(path, root, "maxBytes", default=0, most=1 << 62),
    )


def _text(path: str) -> bytes:
    try:
        file = Path(path)
        if file.is_file() and file.stat().st_size > MOST_BYTES:
            raise BadCall(f"{path} has {file.stat().st_size} bytes; an algorithm may have {MOST_BYTES}")
        return file.read_bytes()
    except OSError as error:
        raise BadCall(f"cannot read the algorithm {path}: {error.strerror}") from error


def _tree(path: str, text: bytes) -> _Element:
    parser = expat.ParserCreate()
    top = _Element("", {}, 0)
    stack = [top]

    def start(tag: str, attributes: dict[str, str]) -> None:
        line = parser.CurrentLineNumber
        expected = _INSIDE.get(stack[-1].tag)
        if tag != expected:
            inside = f"in <{stack[-1].tag}>" if stack[-1].tag else "at the top"
            raise BadCall(f"{path}:{line}: <{tag}> {inside}; " + (f"here goes <{expected}>" if expected else "nothing"))
        element = _Element(tag, attributes, line)
        stack[-1].children.append(element)
        stack.append(element)

    def end(tag: str) -> None:
        stack.pop()

    def refuse(*_: object) -> None:
        line = parser.CurrentLineNumber
        raise BadCall(f"{path}:{line}: document types and entities are not allowed in an algorithm; take them out")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        raise BadCall(f"{path}:{error.lineno}: not XML: {expat.ErrorString(error.code)}") from error
    except (LookupError, ValueError) as error:
        # Of Python's codecs, which expat asks for an encoding that it does not know itself.
        raise BadCall(f"{path}:1: it cannot be read in the encoding that it declares; save it as UTF-8") from error
    return top.children[0]


def _threadblocks(path: str, gpu: _Element, rank: int, size: int) -> tuple[Threadblock, ...]:
    found: dict[int, Threadblock] = {}
    ends: dict[tuple[str, int, int], int] = {}
    for block in gpu.children:
        number = _number(path, block, "id")
        if number in found:
            raise _wrong(path, block, f"rank {rank} has threadblock {number} twice")
        peers = {}
        channel = _number(path, block, "chan", default=0)
        for key in ("send", "recv"):
            peer = _number(path, block, key, default=-1, least=-1)
            if peer >= size or peer == rank:
                raise _wrong(path, block, f"rank {rank}, threadblock {number}: {key} is {peer}; there is no such peer")
            if peer >= 0 and ends.setdefault((key, peer, channel), number) != number:
                other = ends[key, peer, channel]
                raise _wrong(
                    path,
                    block,
                    f"rank {rank}: threadblocks {other} and {number} share {key} {peer} on channel {channel}",
                )
            peers[key] = peer
        steps = tuple(_step(path, step, rank, index) for index, step in enumerate(block.children))
        found[number] = Threadblock(number, peers["send"], peers["recv"], channel, steps)
    return tuple(found[number] for number in sorted(found))


def _step(path: str, element: _Element, rank: int, index: int) -> MscclStep:
    number = _number(path, element, "s", default=index)
    if number != index:
        raise _wrong(path, element, f"rank {rank}: step {number} stands where step {index} is due")
    kind = element.attributes.get("type", "")
    if kind not in TYPES:
        raise _wrong(path, element, f"rank {rank}, step {number}: type {kind!r}{hint(kind, TYPES, 'types')}")
    ends: list[tuple[str, int]] = []
    for side in ("src", "dst"):
        buffer = element.attributes.get(f"{side}buf", "i")
        if buffer not in BUFFERS:
            raise _wrong(path, element, f"rank {rank}, step {number}: {side}buf {buffer!r}; known are i, o and s")
        ends.append((buffer, _number(path, element, f"{side}off", default=0, least=-1)))
    waits = _number(path, element, "depid", default=-1, least=-1)
    step = _number(path, element, "deps", default=-1, least=-1)
    count = _number(path, element, "cnt", default=1, least=0)
    if kind != "nop" and count < 1:
        raise _wrong(path, element, f"rank {rank}, step {number}: cnt is {count}; a {kind} moves at least one chunk")
    wanted = None if waits < 0 or step < 0 else (waits, step)
    return MscclStep(number, kind, ends[0], ends[1], count, wanted, element.line)


def _number(
    path: str, element: _Element, key: str, *, default: int | None = None, least: int = 0, most: int = MOST
) -> int:
    text = element.attributes.get(key)
    if text is None:
        if default is None:
            raise _wrong(path, element, f"<{element.tag}> lacks {key}")
        return default
    digits = text[1:] if text.startswith("-") else text
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 19 and least <= int(text) <= most):
        raise _wrong(
            path, element, f"{key} of <{element.tag}> is {text!r}; write a whole number from {least} to {most}"
        )
    return int(text)


def _wrong(path: str, element: _Element, why: str) -> BadCall:
    return BadCall(f"{path}:{element.line}: {why}")
