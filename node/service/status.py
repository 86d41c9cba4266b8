"""Turns an error into the status of a call, by the one table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import grpc

from node.errors import NodeError
from node.wire.status import FAILURE_KEY, STATUS, failure_of


def end_with(context: grpc.ServicerContext, error: NodeError) -> NoReturn:
    """Ends the call with the status of `error`."""
    context.set_trailing_metadata(((FAILURE_KEY, failure_of(error).SerializeToString()),))
    context.abort(STATUS.get(type(error), grpc.StatusCode.UNKNOWN), str(error))


@contextmanager
def statuses(context: grpc.ServicerContext) -> Iterator[None]:
    """Ends the call with the right status when the body raises a NodeError."""
    try:
        yield
    except NodeError as error:
        end_with(context, error)
