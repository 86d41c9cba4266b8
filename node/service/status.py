"""Turns an error into the status of a call, by the one table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import grpc

from node.errors import MachineFull, NodeError
from node.protocol import FAILURE_KEY
from node.wire.status import STATUS, failure_of, shortened


def end_with(context: grpc.ServicerContext, error: NodeError) -> NoReturn:
    """Ends the call with the status of `error`."""
    context.set_trailing_metadata(((FAILURE_KEY, failure_of(error).SerializeToString()),))
    context.abort(STATUS.get(type(error), grpc.StatusCode.UNKNOWN), shortened(str(error)))


@contextmanager
def statuses(context: grpc.ServicerContext) -> Iterator[None]:
    """Ends the call with the right status when the body raises a NodeError, or the machine runs out of something."""
    try:
        yield
    except NodeError as error:
        end_with(context, error)
    except MemoryError:
        end_with(context, MachineFull("out of memory of this machine; free some or use a smaller tier"))
    except OSError as error:
        where = f" at {error.filename}" if error.filename else ""
        end_with(context, MachineFull(f"the machine refuses{where}: {error.strerror or error}; free what it lacks"))
