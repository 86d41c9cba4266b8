"""Requests of a job in groups that share a prefix, on one level.

All prefixes form a tree. A node shared by n requests saves its tokens n - 1 times if all of them form one group; or its
children form groups of their own. The better of the two is chosen from the leaves up.

Source: Zheng et al., BatchLLM, arXiv 2412.03594, section 4.1 (`MaximizeReuse`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from controller.serving.client_request import ClientRequest


@dataclass(frozen=True, slots=True)
class PrefixGroup:
    """Requests that run together.

    Attributes:
        prefix: hashes of what they share; empty for a request alone.
        requests: in the order of the job.
        saved_tokens: prompt tokens that are computed once instead of for each.
    """

    prefix: tuple[int, ...]
    requests: tuple[ClientRequest, ...]
    saved_tokens: int


@dataclass(slots=True)
class _Node:
    depth: int
    requests: list[ClientRequest] = field(default_factory=list)
    children: dict[int, _Node] = field(default_factory=dict)
    ends: list[ClientRequest] = field(default_factory=list)


def group_by_prefix(requests: Sequence[ClientRequest]) -> list[PrefixGroup]:
    """The groups that save most prompt tokens, those with shared prefixes first."""
    root = _Node(0)
    for request in requests:
        node = root
        node.requests.append(request)
        size = request.prefix_block_tokens
        for depth, content in enumerate(request.prefix[: max(0, (request.prompt_tokens - 1) // size)], start=1):
            node = node.children.setdefault(content, _Node(depth))
            node.requests.append(request)
        node.ends.append(request)
    return sorted(_best(root)[1], key=lambda group: (not group.prefix, group.requests[0].number))


def multi_level_saved_tokens(requests: Sequence[ClientRequest]) -> int:
    """Prompt tokens that a tree of all levels saves: every shared block is computed once."""
    seen: set[tuple[int, ...]] = set()
    saved = 0
    for request in requests:
        for depth in range(1, max(0, (request.prompt_tokens - 1) // request.prefix_block_tokens) + 1):
            key = request.prefix[:depth]
            if len(key) < depth:
                break
            if key in seen:
                saved += request.prefix_block_tokens
            seen.add(key)
    return saved


def _best(root: _Node) -> tuple[int, list[PrefixGroup]]:
    """Saved tokens and groups below a node, without recursion, since prefixes are long."""
    order, stack = [], [root]
    while stack:
        node = stack.pop()
        order.append(node)
        stack += [child for child in node.children.values() if len(child.requests) > 1]
    found: dict[int, tuple[int, list[PrefixGroup]]] = {}
    for node in reversed(order):
        saved, groups = 0, [PrefixGroup((), (each,), 0) for each in node.ends]
        for child in node.children.values():
            if len(child.requests) == 1:
                groups.append(PrefixGroup((), (child.requests[0],), 0))
            else:
                below, its = found.pop(id(child))
                saved, groups = saved + below, groups + its
        first = node.requests[0] if node.requests else None
        together = 0 if first is None else (len(node.requests) - 1) * node.depth * first.prefix_block_tokens
        if first is not None and together > saved:
            saved, groups = together, [PrefixGroup(first.prefix[: node.depth], tuple(node.requests), together)]
        found[id(node)] = saved, groups
    return found[id(root)]
