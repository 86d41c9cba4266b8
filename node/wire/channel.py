"""Channels to nodes and the server's side of them: plain on one machine, TLS and a token beyond it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakValueDictionary

import grpc

from node.errors import UnsecuredAddress
from node.protocol import DEVICE_KEY, GROUP_SUFFIX, MESSAGE_BYTES
from node.wire.credentials import Credentials, certificate_name, check_target

_Continue = Callable[[Any, Any], Any]
if TYPE_CHECKING:  # generic in the stubs alone
    _UnaryUnary = grpc.UnaryUnaryClientInterceptor[Any, Any]
    _UnaryStream = grpc.UnaryStreamClientInterceptor[Any, Any]
    _StreamUnary = grpc.StreamUnaryClientInterceptor[Any, Any]
    _StreamStream = grpc.StreamStreamClientInterceptor[Any, Any]
else:
    _UnaryUnary, _UnaryStream = grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor
    _StreamUnary, _StreamStream = grpc.StreamUnaryClientInterceptor, grpc.StreamStreamClientInterceptor

_ALIVE_MS = 20_000
_PATIENCE_MS = 20_000
CHANNEL_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
)
_FAR_OPTIONS = (
    # A machine that loses power closes no connection: streams that stay open as long as a run ask now and then.
    ("grpc.keepalive_time_ms", _ALIVE_MS),
    ("grpc.keepalive_timeout_ms", _PATIENCE_MS),
    ("grpc.http2.max_pings_without_data", 0),
)
_FAR_SERVER_OPTIONS = (
    *_FAR_OPTIONS,
    ("grpc.http2.min_ping_interval_without_data_ms", _ALIVE_MS // 2),
    ("grpc.http2.max_ping_strikes", 0),
)


def open_channel(target: str, name: str, credentials: Credentials | None) -> grpc.Channel:
    """A channel to one process of the run; nothing is sent yet.

    Args:
        target: as gRPC names it.
        name: of the device, which its certificate must show.
        credentials: of this side; None for a plain channel.
    """
    if credentials is None:
        if target.endswith(GROUP_SUFFIX):
            return grpc.intercept_channel(_shared(target), _OfDevice(name))
        return grpc.insecure_channel(target, list(CHANNEL_OPTIONS))
    secure = grpc.ssl_channel_credentials(
        credentials.authority.encode(), credentials.key.encode(), credentials.certificate.encode()
    )
    token = grpc.access_token_call_credentials(credentials.token)
    expected = ("grpc.ssl_target_name_override", certificate_name(name))
    options = [*CHANNEL_OPTIONS, *_FAR_OPTIONS, expected]
    return grpc.secure_channel(target, grpc.composite_channel_credentials(secure, token), options)


class _SharedChannel(grpc.Channel):
    """A channel of several clients: it goes with the last of them, whoever closes it before."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    def __del__(self) -> None:
        self._channel.close()

    def close(self) -> None:
        """Leaves it to the other clients."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def subscribe(self, callback: Any, try_to_connect: bool = False) -> None:
        """See grpc.Channel."""
        self._channel.subscribe(callback, try_to_connect)

    def unsubscribe(self, callback: Any) -> None:
        """See grpc.Channel."""
        self._channel.unsubscribe(callback)

    def unary_unary(self, *given: Any, **options: Any) -> Any:
        """See grpc.Channel."""
        return self._channel.unary_unary(*given, **options)

    def unary_stream(self, *given: Any, **options: Any) -> Any:
        """See grpc.Channel."""
        return self._channel.unary_stream(*given, **options)

    def stream_unary(self, *given: Any, **options: Any) -> Any:
        """See grpc.Channel."""
        return self._channel.stream_unary(*given, **options)

    def stream_stream(self, *given: Any, **options: Any) -> Any:
        """See grpc.Channel."""
        return self._channel.stream_stream(*given, **options)


_shared_channels: WeakValueDictionary[str, _SharedChannel] = WeakValueDictionary()
_sharing = Lock()


def _shared(target: str) -> grpc.Channel:
    """The one connection to a process that carries several devices."""
    with _sharing:
        channel = _shared_channels.get(target)
        if channel is None:
            channel = _shared_channels[target] = _SharedChannel(grpc.insecure_channel(target, list(CHANNEL_OPTIONS)))
        return channel


class _OfDevice(_UnaryUnary, _UnaryStream, _StreamUnary, _StreamStream):
    """Says in every call which device of a process it is for."""

    def __init__(self, device: str) -> None:
        self._entry = (DEVICE_KEY, device)

    def _told(self, details: Any) -> Any:
        return details._replace(metadata=(*(details.metadata or ()), self._entry))

    def intercept_unary_unary(self, continuation: _Continue, client_call_details: Any, request: Any) -> Any:
        """See grpc.UnaryUnaryClientInterceptor."""
        return continuation(self._told(client_call_details), request)

    def intercept_unary_stream(self, continuation: _Continue, client_call_details: Any, request: Any) -> Any:
        """See grpc.UnaryStreamClientInterceptor."""
        return continuation(self._told(client_call_details), request)

    def intercept_stream_unary(self, continuation: _Continue, client_call_details: Any, request_iterator: Any) -> Any:
        """See grpc.StreamUnaryClientInterceptor."""
        return continuation(self._told(client_call_details), request_iterator)

    def intercept_stream_stream(self, continuation: _Continue, client_call_details: Any, request_iterator: Any) -> Any:
        """See grpc.StreamStreamClientInterceptor."""
        return continuation(self._told(client_call_details), request_iterator)


def server_options(credentials: Credentials | None) -> list[tuple[str, Any]]:
    """Options of a server; no two share a port."""
    return [*CHANNEL_OPTIONS, ("grpc.so_reuseport", 0), *(_FAR_SERVER_OPTIONS if credentials is not None else ())]


def bind(server: grpc.Server, target: str, credentials: Credentials | None) -> str:
    """Makes a server listen; returns where, with the port that the system chose for port 0.

    Raises:
        UnsecuredAddress: an address that strangers reach, without credentials.
        RuntimeError: it cannot be bound.
    """
    check_target(target, credentials)
    if target.startswith("unix:"):
        _check_folder(Path(target.removeprefix("unix:")).parent)
    if credentials is None:
        port = server.add_insecure_port(target)
    else:
        shown = [(credentials.key.encode(), credentials.certificate.encode())]
        secure = grpc.ssl_server_credentials(shown, credentials.authority.encode(), require_client_auth=True)
        port = server.add_secure_port(target, secure)
    return target if target.startswith("unix") else f"{target.rpartition(':')[0]}:{port}"


def _check_folder(folder: Path) -> None:
    """Checks that a socket in `folder` can be reached, or replaced, by nobody else.

    gRPC does not tell a service who is at the other end of a socket, so the folder has to keep others out: only its
    owner may enter it, and its owner is the user of this process.

    Raises:
        UnsecuredAddress: others could.
    """
    found = folder.stat()
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise UnsecuredAddress(
            f"{folder} has owner {found.st_uid} and mode {found.st_mode & 0o7777:04o}: others could reach a socket in "
            f"it; use a folder of user {os.geteuid()} with mode 0700"
        )
