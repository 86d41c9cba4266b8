"""A server behind an OpenAI-compatible endpoint: with the tokens of a live model, or placeholders in virtual times."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from controller.errors import BadWorkload, MissingExtra
from controller.experiment.serving_live import LiveServing, live_nodes
from controller.experiment.serving_run import setup_of
from controller.experiment.serving_spec import ServeSpec
from controller.models.gguf_weights import GgufWeights
from controller.models.text import open_tokenizer
from controller.serving.client_request import RequestStreamSpec
from controller.serving.fleet import start_instances
from controller.serving.kv_pool import BLOCK_TOKENS
from controller.serving.live.request_texts import RequestTexts
from controller.serving.loop import ServingLoop

Say = Callable[[str], None]


def serve_http(spec: ServeSpec, address: str, say: Say, *, live: bool = False, pace: float = 1.0) -> None:
    """Serves until SIGINT or SIGTERM.

    Args:
        spec: what was asked for; its requests are those that come.
        address: to listen on, ``HOST:PORT``.
        say: told where the server listens and what its tokens are.
        live: on node processes.
        pace: wall time over virtual time, where nothing is computed.

    Raises:
        UserError: wrong input, or an address that is taken; nothing was started.
        RunError: a node that died.
    """
    try:
        from controller.serving.http.app import OpenAiEndpoint
        from controller.serving.http.engine import ServingEngine
        from controller.serving.http.prometheus import ServerMetrics
        from controller.serving.http.run import http_server, is_loopback, listen, read_address
        from controller.serving.http.token_source import ComputedTokens, NumberCodec, PlaceholderTokens
    except ImportError as error:
        raise MissingExtra("--http needs an ASGI server: pip install 'windtunnel[serving]'") from error
    if pace <= 0:
        raise BadWorkload(f"--pace {pace:g}: give wall seconds per second of the server, above 0")
    host, port = read_address(address)
    with listen(host, port) as bound, _loop(spec, say, live=live) as (loop, model, most, serving):
        if serving is None:
            tokens: PlaceholderTokens | ComputedTokens = PlaceholderTokens()
        else:
            weights, shape = serving[0].weights, serving[0].setup.shape
            has_text = isinstance(weights, GgufWeights)
            codec = open_tokenizer(weights) if has_text else NumberCodec(shape.vocab)
            tokens = ComputedTokens(serving[1], codec, shape.eos_tokens if has_text else ())
        metrics = ServerMetrics(model, loop)
        engine = ServingEngine(loop, tokens, most, None if live else pace, metrics.ended)
        where = f"http://{host}:{bound.getsockname()[1]}"

        def started() -> None:
            what = "computed on nodes, greedily" if live else f"placeholders in the times of a virtual run x {pace:g}"
            say(f"{model} at {where}/v1; tokens are {what}; Ctrl-C ends it")
            if not is_loopback(host):
                say(f"warning: {host} is reached from outside of this machine, and nobody is asked for a key")

        engine.start()
        try:
            http_server(OpenAiEndpoint(engine, metrics, model).app(), started).run(sockets=[bound])
        finally:
            engine.close()
        if engine.failure is not None:
            raise engine.failure


@contextmanager
def _loop(
    spec: ServeSpec, say: Say, *, live: bool
) -> Iterator[tuple[ServingLoop, str, int, tuple[LiveServing, RequestTexts] | None]]:
    """The loop of an open stream, the model's name, and the most tokens of a request."""
    nobody_yet = RequestStreamSpec([], "http")
    if not live:
        setup = setup_of(spec)
        instances = start_instances(setup.instances)
        most = min(setup.shape.max_positions, BLOCK_TOKENS * min(each.blocks for each in setup.instances))
        dispatcher = setup.dispatcher(instances)
        outages = setup.outages(dispatcher) if spec.faults else None
        yield ServingLoop(instances, nobody_yet, outages or dispatcher), setup.shape.name, most, None
        return
    serving = LiveServing(spec, None, say)
    shape = serving.setup.shape
    with live_nodes(serving) as run:
        server = serving.start(run, nobody_yet, survives=True)
        most = min(shape.max_positions, BLOCK_TOKENS * serving.blocks)
        yield server.loop, shape.name, most, (serving, server.texts)
