"""Errors on the wire: the one table from `node.errors` to gRPC status codes, and the way there and back."""

from __future__ import annotations

from collections.abc import Mapping

import grpc

from node import errors
from node.protocol import FAILURE_KEY
from node.rpc import node_pb2

_CODE = grpc.StatusCode

STATUS: Mapping[type[errors.NodeError], grpc.StatusCode] = {
    errors.BadQuantity: _CODE.INVALID_ARGUMENT,
    errors.BadName: _CODE.INVALID_ARGUMENT,
    errors.UnknownProduct: _CODE.NOT_FOUND,
    errors.BadSheet: _CODE.INVALID_ARGUMENT,
    errors.UnknownOperation: _CODE.INVALID_ARGUMENT,
    errors.BadAttribute: _CODE.INVALID_ARGUMENT,
    errors.ShapeMismatch: _CODE.INVALID_ARGUMENT,
    errors.DtypeMismatch: _CODE.INVALID_ARGUMENT,
    errors.MessageTooLarge: _CODE.RESOURCE_EXHAUSTED,
    errors.UnsecuredAddress: _CODE.FAILED_PRECONDITION,
    errors.UnknownBuffer: _CODE.NOT_FOUND,
    errors.BufferExists: _CODE.ALREADY_EXISTS,
    errors.BufferInUse: _CODE.FAILED_PRECONDITION,
    errors.OutOfRange: _CODE.OUT_OF_RANGE,
    errors.UnknownTier: _CODE.NOT_FOUND,
    errors.TierFull: _CODE.RESOURCE_EXHAUSTED,
    errors.MachineFull: _CODE.RESOURCE_EXHAUSTED,
    errors.CorruptTier: _CODE.DATA_LOSS,
    errors.WaitTimeout: _CODE.DEADLINE_EXCEEDED,
    errors.PeerUnreachable: _CODE.UNAVAILABLE,
    errors.LinkDropped: _CODE.UNAVAILABLE,
    errors.StreamLost: _CODE.FAILED_PRECONDITION,
    errors.Unsupported: _CODE.UNIMPLEMENTED,
    errors.Fenced: _CODE.FAILED_PRECONDITION,
    errors.NotPrepared: _CODE.FAILED_PRECONDITION,
    errors.TooManyCalls: _CODE.RESOURCE_EXHAUSTED,
    errors.NotCarried: _CODE.NOT_FOUND,
    errors.NotAdmitted: _CODE.UNAUTHENTICATED,
    errors.ShuttingDown: _CODE.UNAVAILABLE,
}


_BY_NAME = {error.__name__: error for error in STATUS}


_LONGEST = 2000
"""How long a text in an error may be [characters]; gRPC refuses metadata of more than 8 KiB, and hides the error."""


def shortened(text: str) -> str:
    """A text that fits the metadata of a call, without its middle when it is too long (a name of a megabyte)."""
    plain = text if text.isascii() else text.encode("ascii", "backslashreplace").decode()
    if len(plain) <= _LONGEST:
        return text
    half = _LONGEST // 2
    return f"{plain[:half]} ... {len(plain) - 2 * half} characters ... {plain[-half:]}"


def failure_of(error: BaseException) -> node_pb2.Failure:
    """An error as a message; what is no NodeError keeps its class name, so that nothing is disguised."""
    if isinstance(error, errors.TierFull):
        return node_pb2.Failure(
            type="TierFull",
            text=shortened(str(error)),
            device=error.device,
            tier=error.tier,
            need_bytes=error.need_bytes,
            free_bytes=error.free_bytes,
            capacity_bytes=error.capacity_bytes,
        )
    link = error.link if isinstance(error, errors.LinkDropped) else ""
    return node_pb2.Failure(type=type(error).__name__, text=shortened(str(error)), device=link)


def error_of(failure: node_pb2.Failure) -> errors.NodeError:
    """The error that a message describes."""
    if failure.type == "LinkDropped":
        return errors.LinkDropped(failure.text, failure.device)
    if failure.type == "TierFull" and failure.tier:
        return errors.TierFull(
            failure.device, failure.tier, failure.need_bytes, failure.free_bytes, failure.capacity_bytes
        )
    kind = _BY_NAME.get(failure.type)
    if kind is None or kind is errors.TierFull:
        return errors.NodeError(f"{failure.type}: {failure.text}")
    return kind(failure.text)


def error_of_call(call: grpc.RpcError, device: str) -> errors.NodeError | None:
    """The error behind a failed RPC, or None when the node did not answer at all."""
    for entry in call.trailing_metadata() or ():
        if entry.key == FAILURE_KEY:
            return error_of(node_pb2.Failure.FromString(entry.value))
    code, text = call.code(), call.details() or ""
    if code == _CODE.RESOURCE_EXHAUSTED:
        return errors.MessageTooLarge(f"{device} refused a message: {text}; send less in one request")
    if code == _CODE.DEADLINE_EXCEEDED:
        return errors.WaitTimeout(f"{device} did not answer before the deadline of the call: {text}")
    if code == _CODE.UNIMPLEMENTED:
        return errors.Unsupported(f"{device} does not serve this call: {text}")
    if code in (_CODE.UNAVAILABLE, _CODE.CANCELLED):
        return None
    return errors.NodeError(f"{device} failed with {code.name}: {text}")
