"""Nodes beyond one machine answer only who shows a certificate of the run and its token, whatever is asked."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from controller.launch import Cluster, Listening, launch
from controller.launch.certificates import make_credentials
from controller.launch.run_directory import runs_folder as folder_of_runs
from node.client import Credentials, NodeClient, certificate_name, spec_to_data
from node.errors import NodeError, PeerUnreachable
from node.protocol import CREDENTIALS_FILE
from node.rpc import node_pb2, node_pb2_grpc

pytest.importorskip("cryptography")
pytestmark = pytest.mark.live
S = 10.0
UNAUTHENTICATED, UNAVAILABLE = grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNAVAILABLE


@pytest.fixture(scope="module")
def guarded(twins: SimpleNamespace) -> Iterator[Cluster]:
    """Two nodes at addresses, with pacing, so that there is an arbiter too."""
    declared = twins.topology(("gpu_0", "h0", twins.device_spec()), ("b", "h1", twins.device_spec()))
    with launch(declared, pace=1.0, listening=Listening({"h0": "127.0.0.1", "h1": "127.0.0.2"})) as cluster:
        yield cluster


def own(cluster: Cluster) -> Credentials:
    assert cluster.whereabouts.credentials is not None
    return cluster.whereabouts.credentials


def secure(
    target: str, name: str, *, authority: str, key: str | None = None, certificate: str | None = None
) -> grpc.Channel:
    """A channel with TLS alone: no token."""
    chain = (None, None) if key is None or certificate is None else (key.encode(), certificate.encode())
    shown = grpc.ssl_channel_credentials(authority.encode(), *chain)
    return grpc.secure_channel(target, shown, [("grpc.ssl_target_name_override", certificate_name(name))])


def refused(channel: grpc.Channel, metadata: tuple[tuple[str, str], ...] = ()) -> grpc.StatusCode:
    """How a call ends that must not succeed."""
    with channel, pytest.raises(grpc.RpcError) as found:
        node_pb2_grpc.NodeStub(channel).Describe(node_pb2.DescribeRequest(), timeout=S, metadata=metadata)
    code: grpc.StatusCode = found.value.code()
    return code


def test_who_belongs_to_the_run_is_served(guarded: Cluster) -> None:
    assert guarded.whereabouts.targets["gpu_0"].startswith("127.0.0.1:")
    assert guarded.whereabouts.targets["b"].startswith("127.0.0.2:")
    client = guarded.clients["gpu_0"]
    client.allocate("x", "hbm", "fp32", (1_000_000,))
    values = np.arange(1_000_000, dtype=np.float32)
    client.write("x", values)
    assert np.array_equal(client.read("x"), values)
    client.free("x")


def test_plain_text(guarded: Cluster) -> None:
    for target in (*guarded.whereabouts.targets.values(), guarded.whereabouts.arbiter):
        token = (("authorization", f"Bearer {own(guarded).token}"),)
        assert refused(grpc.insecure_channel(target), token) == UNAVAILABLE
        host, _, port = target.rpartition(":")
        with socket.create_connection((host, int(port)), S) as line:
            line.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
            answer = line.recv(4096)
            assert b"windtunnel" not in answer and (not answer or answer[0] == 21), "an alert of TLS, or the end"


def test_no_certificate(guarded: Cluster) -> None:
    credentials = own(guarded)
    token = (("authorization", f"Bearer {credentials.token}"),)
    target = guarded.whereabouts.targets["b"]
    assert refused(secure(target, "b", authority=credentials.authority), token) == UNAVAILABLE


def test_a_certificate_of_another_run(guarded: Cluster) -> None:
    credentials, other = own(guarded), make_credentials(["b"])["b"]
    token = (("authorization", f"Bearer {credentials.token}"),)
    channel = secure(
        guarded.whereabouts.targets["b"],
        "b",
        authority=credentials.authority,
        key=other.key,
        certificate=other.certificate,
    )
    assert refused(channel, token) == UNAVAILABLE


@pytest.mark.parametrize(
    "shown",
    [
        (),
        (("authorization", "Bearer wrong"),),
        (("authorization", "Bearer "),),
        (("authorization", "{token}"),),
        (("authorization", "bearer {token}"),),
        (("authorization", "Bearer {token}x"),),
        (("authorization", "Bearer {token}"), ("authorization", "Bearer {token}")),
        (("token", "Bearer {token}"),),
    ],
    ids=str,
)
def test_no_token_and_wrong_ones(guarded: Cluster, shown: tuple[tuple[str, str], ...]) -> None:
    credentials = own(guarded)
    metadata = tuple((key, value.format(token=credentials.token)) for key, value in shown)

    def channel() -> grpc.Channel:
        return secure(
            guarded.whereabouts.targets["b"],
            "b",
            authority=credentials.authority,
            key=credentials.key,
            certificate=credentials.certificate,
        )

    assert refused(channel(), metadata) == UNAUTHENTICATED
    with channel() as line:  # and with it the same channel is served
        good = (("authorization", f"Bearer {credentials.token}"),)
        assert node_pb2_grpc.NodeStub(line).Describe(node_pb2.DescribeRequest(), timeout=S, metadata=good).device == "b"


def methods() -> Iterator[tuple[str, str, bool, bool]]:
    """(service, method, does the client stream, does the server) of everything that is served."""
    services = [
        *node_pb2.DESCRIPTOR.services_by_name.values(),
        *health_pb2.DESCRIPTOR.services_by_name.values(),
        *reflection_pb2.DESCRIPTOR.services_by_name.values(),
    ]
    for service in services:
        for method in service.methods:
            yield service.full_name, method.name, method.client_streaming, method.server_streaming
    yield "windtunnel.node.v1.Node", "NoSuchMethod", False, False


@pytest.mark.parametrize(("service", "method", "sends_stream", "gets_stream"), list(methods()))
def test_every_call_is_guarded(
    guarded: Cluster, service: str, method: str, sends_stream: bool, gets_stream: bool
) -> None:
    credentials = own(guarded)
    name, target = ("b", guarded.whereabouts.targets["b"])
    if service.endswith("Arbiter"):
        name, target = ("arbiter", guarded.whereabouts.arbiter)
    line = secure(
        target, name, authority=credentials.authority, key=credentials.key, certificate=credentials.certificate
    )
    kinds = {
        (False, False): line.unary_unary,
        (False, True): line.unary_stream,
        (True, False): line.stream_unary,
        (True, True): line.stream_stream,
    }
    call = kinds[sends_stream, gets_stream](f"/{service}/{method}")
    with line, pytest.raises(grpc.RpcError) as found:
        answer = call(iter([b""]) if sends_stream else b"", timeout=S)
        if gets_stream:
            next(answer)
    assert found.value.code() == UNAUTHENTICATED
    with pytest.raises(NodeError, match="token") as told:
        NodeClient(target, name, credentials=replace(credentials, token="x" * 43)).describe()
    assert type(told.value).__name__ == "NotAdmitted"


def test_health_and_reflection_answer_those_who_belong(guarded: Cluster) -> None:
    channel = guarded.clients["b"].channel
    check = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=""), timeout=S)
    assert check.status == health_pb2.HealthCheckResponse.SERVING
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    (listed,) = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([asked]), timeout=S)
    assert "windtunnel.node.v1.Node" in [entry.name for entry in listed.list_services_response.service]


def test_a_node_that_is_not_the_one_that_was_meant(guarded: Cluster) -> None:
    """Both sides look: nobody sends the values of one device to another, or to somebody at its address."""
    impostor = NodeClient(guarded.whereabouts.targets["b"], "gpu_0", credentials=own(guarded))
    with pytest.raises(PeerUnreachable):
        impostor.describe()
    other = make_credentials(["b"])["b"]
    with pytest.raises(PeerUnreachable):
        NodeClient(guarded.whereabouts.targets["b"], "b", credentials=other).describe()


def test_the_secrets_are_for_their_user_alone(guarded: Cluster) -> None:
    (path,) = folder_of_runs().glob(f"*/{CREDENTIALS_FILE}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert own(guarded).token in path.read_text()
    assert own(guarded).token not in repr(own(guarded)) + (path.parent / "cluster.json").read_text()
    for process in guarded.processes.values():
        assert own(guarded).token.encode() not in Path(f"/proc/{process}/cmdline").read_bytes()
        assert own(guarded).token.encode() not in Path(f"/proc/{process}/environ").read_bytes()


@pytest.mark.parametrize("target", ["0.0.0.0:0", "203.0.113.7:4000", "[::]:0", "localhost.example:0"])
def test_a_node_does_not_listen_where_strangers_are_without_tls(
    target: str, tmp_path: Path, twins: SimpleNamespace
) -> None:
    devices = {"a": {"host": "h", "target": target, "spec": spec_to_data(twins.device_spec())}}
    content = {
        "devices": devices,
        "links": {},
        "epoch": 0.0,
        "dilation": None,
        "arbiter": "",
        "flash_folder": str(tmp_path / "flash"),
    }
    (tmp_path / "cluster.json").write_text(json.dumps(content))
    read_end, write_end = os.pipe()
    ended = subprocess.run(
        [sys.executable, "-m", "node.server", str(tmp_path), "--report", str(write_end)],
        pass_fds=[write_end],
        capture_output=True,
        text=True,
        timeout=60,
    )
    os.close(write_end)
    with os.fdopen(read_end) as report:
        (said,) = map(json.loads, report)
    assert ended.returncode == 2
    assert said["type"] == "UnsecuredAddress" and target in said["text"]
    assert target in ended.stderr and "--bind" in ended.stderr and "Traceback" not in ended.stderr
