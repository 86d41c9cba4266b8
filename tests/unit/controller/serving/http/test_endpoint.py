"""The endpoint as OpenAI's own client and as bad clients see it, over a virtual server of toy times."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import openai
import pytest

from controller.conformance.serving_toys import ToyTimes
from controller.serving.client_request import RequestStreamSpec
from controller.serving.http.app import OpenAiEndpoint
from controller.serving.http.bodies import MOST_BODY_BYTES
from controller.serving.http.engine import ServingEngine
from controller.serving.http.prometheus import ServerMetrics
from controller.serving.http.run import http_server, listen, read_address
from controller.serving.http.token_source import PlaceholderTokens
from controller.serving.instance import ServingInstance
from controller.serving.kv_pool import KvPool
from controller.serving.loop import ServingLoop
from controller.serving.schedulers import vllm
from controller.serving.state import InstanceState, ServerLimits


@pytest.fixture(scope="module")
def server() -> Iterator[SimpleNamespace]:
    state = InstanceState(0, KvPool(200), ServerLimits(16, 512))
    loop = ServingLoop([ServingInstance(state, ToyTimes(), vllm.decide)], RequestStreamSpec([], "http"))
    metrics = ServerMetrics("toy", loop)
    engine = ServingEngine(loop, PlaceholderTokens(), 2000, 1.0, metrics.ended)
    bound, ready = listen("127.0.0.1", 0), threading.Event()
    uvicorn = http_server(OpenAiEndpoint(engine, metrics, "toy").app(), ready.set)
    thread = threading.Thread(target=lambda: uvicorn.run(sockets=[bound]))
    engine.start()
    thread.start()
    assert ready.wait(30)
    port = bound.getsockname()[1]
    yield SimpleNamespace(port=port, loop=loop, pool=state.pool, engine=engine, metrics=metrics)
    uvicorn.should_exit = True
    thread.join(20)
    engine.close()
    assert not thread.is_alive() and not engine.is_alive
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 1)


@pytest.fixture
def client(server: SimpleNamespace) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="none", max_retries=0) as made:
        yield made


def asked(server: SimpleNamespace, path: str, body: object = None, method: str = "") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    raw = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    connection.request(method or ("GET" if body is None else "POST"), path, raw)
    answer = connection.getresponse()
    found = answer.status, answer.read().decode()
    connection.close()
    return found


def test_models_completions_and_usage(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["toy"]
    made = client.completions.create(model="toy", prompt="x" * 40, max_tokens=7)
    assert made.usage is not None and made.usage.prompt_tokens == 10 and made.usage.completion_tokens == 7
    assert made.choices[0].text == " the wind blows over a scale model" and made.choices[0].finish_reason == "length"
    two = client.completions.create(model="toy", prompt=["one", "two"], max_tokens=2)
    assert [choice.text for choice in two.choices] == [" the wind"] * 2
    stopped = client.completions.create(model="toy", prompt=[1, 2, 3], max_tokens=9, stop=" over")
    assert stopped.choices[0].text == " the wind blows" and stopped.choices[0].finish_reason == "stop"


def test_a_chat_streams_its_tokens_one_by_one(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(
        model="toy", messages=[{"role": "user", "content": "hello"}], max_tokens=5, stream=True,
        stream_options={"include_usage": True},
    ))  # fmt: skip
    texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert texts == [" the", " wind", " blows", " over", " a"]
    assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens == 5
    whole = client.chat.completions.create(model="toy", messages=[{"role": "user", "content": "x"}], max_tokens=3)
    assert whole.choices[0].message.content == " the wind blows"


def test_many_clients_are_batched(client: openai.OpenAI, server: SimpleNamespace) -> None:
    found: list[str] = []

    def ask() -> None:
        found.append(client.completions.create(model="toy", prompt=[1] * 50, max_tokens=30).choices[0].text)

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 12 and len(set(found)) == 1 and server.pool.peak_blocks > 10


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b'{"model": "toy", "prom', 400, "the body is no JSON object"),
        (b"[1, 2]", 400, "Input should be an object"),
        (b"\xff\xfe", 400, "no JSON object"),
        ({"prompt": "x"}, 400, "model: Field required"),
        ({"model": "toy"}, 400, "prompt: Field required"),
        ({"model": "other", "prompt": "x"}, 404, "the model 'other' does not exist; this server has 'toy'"),
        ({"model": "toy", "prompt": "x", "max_tokens": 0}, 400, "max_tokens"),
        ({"model": "toy", "prompt": "x", "max_tokens": "9"}, 400, "max_tokens"),
        ({"model": "toy", "prompt": "x", "max_tokens": 10**9}, 400, "context_length_exceeded"),
        ({"model": "toy", "prompt": []}, 400, "at least one token"),
        ({"model": "toy", "prompt": "x", "n": 2}, 400, "n is 2, which this server does not offer"),
        ({"model": "toy", "prompt": "x", "stop": [""]}, 400, "none of them empty"),
        ({"model": "toy", "prompt": "x", "max_tokens": 10**9, "stream": True}, 400, "context_length_exceeded"),
        (b" " * (MOST_BODY_BYTES + 1), 413, "the body is larger than"),
    ],
)
def test_bad_bodies_are_refused_and_the_server_goes_on(
    server: SimpleNamespace, body: object, status: int, said: str
) -> None:
    found, text = asked(server, "/v1/completions", body)
    assert found == status and said in text and json.loads(text)["error"]["type"] == "invalid_request_error"
    assert asked(server, "/health")[0] == 200
    assert asked(server, "/v1/completions", {"model": "toy", "prompt": "x", "max_tokens": 1})[0] == 200


def test_other_routes_and_methods_are_refused(server: SimpleNamespace) -> None:
    assert asked(server, "/v1/nothing")[0] == 404
    assert asked(server, "/v1/completions")[0] == 405
    image = {"model": "toy", "messages": [{"role": "user", "content": [{"type": "image_url"}]}]}
    status, text = asked(server, "/v1/chat/completions", image)
    assert status == 400 and "this server takes text alone" in text


def test_a_stream_that_nobody_reads_any_more_gives_its_blocks_back(
    client: openai.OpenAI, server: SimpleNamespace
) -> None:
    stream = client.completions.create(model="toy", prompt=[1] * 100, max_tokens=1800, stream=True)
    next(iter(stream))
    assert server.pool.held_blocks > 0
    stream.close()
    deadline = time.monotonic() + 20
    while server.pool.held_blocks and time.monotonic() < deadline:
        time.sleep(0.05)
    assert server.pool.held_blocks == 0
    assert client.completions.create(model="toy", prompt="x", max_tokens=1).choices[0].text == " the"


def test_metrics_have_the_names_of_vllm(client: openai.OpenAI, server: SimpleNamespace) -> None:
    client.completions.create(model="toy", prompt=[1] * 20, max_tokens=4)
    status, text = asked(server, "/metrics")
    assert status == 200 and asked(server, "/ready")[0] == 200
    for name in (
        "num_requests_running", "num_requests_waiting", "kv_cache_usage_perc", "time_to_first_token_seconds_bucket",
        "inter_token_latency_seconds_sum", "time_per_output_token_seconds_count", "e2e_request_latency_seconds_bucket",
        "request_queue_time_seconds_sum", "request_prefill_time_seconds_sum", "request_decode_time_seconds_sum",
        "prompt_tokens_total", "generation_tokens_total", "prefix_cache_hits_total", "prefix_cache_queries_total",
        "request_success_total", "cache_config_info",
    ):  # fmt: skip
        assert f"\nvllm:{name}{{" in text, name


def test_a_pool_that_is_down_is_not_ready_but_alive(client: openai.OpenAI, server: SimpleNamespace) -> None:
    server.loop.instances[0].is_down = True
    with pytest.raises(openai.InternalServerError, match="no instance takes requests now") as refused:
        client.completions.create(model="toy", prompt="x", max_tokens=1)
    assert refused.value.status_code == 503 and refused.value.response.headers["retry-after"] == "1"
    assert asked(server, "/ready")[0] == 503 and asked(server, "/health")[0] == 200
    server.loop.instances[0].is_down = False
    assert asked(server, "/ready")[0] == 200
    assert client.completions.create(model="toy", prompt="x", max_tokens=1).choices[0].text == " the"


def test_addresses_are_of_loopback_unless_said() -> None:
    assert read_address("8000") == read_address(":8000") == ("127.0.0.1", 8000)
    assert read_address("[::1]:80") == ("::1", 80)
