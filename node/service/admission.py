"""Lets in only calls that carry the token of the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import grpc

from node.errors import NotAdmitted
from node.service.status import end_with
from node.wire.credentials import Credentials

if TYPE_CHECKING:
    _Interceptor = grpc.ServerInterceptor[Any, Any]  # generic in its stubs alone
else:
    _Interceptor = grpc.ServerInterceptor


class Admission(_Interceptor):
    """Stands before every service of a server, health checks and reflection among them."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        # Takes the call as a stream, so that nothing that a stranger sends is read before it is refused.
        self._refusal = grpc.stream_unary_rpc_method_handler(_refuse)

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        """See grpc.ServerInterceptor."""
        if self._credentials.admits(handler_call_details.invocation_metadata):
            return continuation(handler_call_details)
        return self._refusal


def _refuse(requests: Iterator[Any], context: grpc.ServicerContext) -> NoReturn:
    end_with(context, NotAdmitted("the call does not carry the token of this run; take it from the run's directory"))
