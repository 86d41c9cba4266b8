"""One table from errors to statuses: every leaf is in it, and comes back as what it was."""

from __future__ import annotations

import inspect

import grpc
import pytest

from node import errors
from node.wire.status import STATUS, error_of, failure_of

LEAVES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.NodeError) and not kind.__subclasses__()
]


def made(kind: type[errors.NodeError]) -> errors.NodeError:
    return kind("csd0", "flash", 10, 4, 100) if kind is errors.TierFull else kind("what, where, what to do")


def test_the_table_has_every_leaf_and_nothing_else() -> None:
    assert len(LEAVES) >= 19
    assert set(STATUS) == set(LEAVES)
    assert grpc.StatusCode.OK not in STATUS.values()
    assert grpc.StatusCode.UNKNOWN not in STATUS.values()


@pytest.mark.parametrize("kind", LEAVES)
def test_an_error_survives_the_way(kind: type[errors.NodeError]) -> None:
    error = made(kind)
    back = error_of(failure_of(error))
    assert type(back) is kind
    assert str(back) == str(error)
    assert vars(back) == vars(error)


def test_what_is_no_node_error_keeps_its_name() -> None:
    back = error_of(failure_of(ZeroDivisionError("division by zero")))
    assert type(back) is errors.NodeError
    assert "ZeroDivisionError" in str(back)
