"""Metrics of a server that runs, under the names that vLLM gives them, so that its dashboards work.

Times are those of the server's own clock: of the declared hardware, not stretched by a pace.
Source: vllm-project/vllm, vllm/v1/metrics/loggers.py (names, labels and buckets).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from controller.serving.instance import ServingInstance
from controller.serving.loop import ServingLoop
from controller.serving.state import RequestState

_TTFT = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0)
_TPOT = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0)
_E2E = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0)


class ServerMetrics:
    """Counters and histograms of ended requests, gauges of what runs."""

    def __init__(self, model: str, loop: ServingLoop) -> None:
        self._registry, self._model = CollectorRegistry(), model
        self._registry.register(_Gauges(model, loop))
        self._histograms = {
            name: Histogram(f"vllm:{name}", text, ["model_name"], registry=self._registry, buckets=buckets)
            for name, text, buckets in (
                ("time_to_first_token_seconds", "Arrival to first token.", _TTFT),
                ("time_per_output_token_seconds", "Mean time between tokens of a request.", _TPOT),
                ("inter_token_latency_seconds", "Time between tokens, the mean of each request.", _TPOT),
                ("e2e_request_latency_seconds", "Arrival to last token.", _E2E),
                ("request_queue_time_seconds", "Arrival to first chunk.", _E2E),
                ("request_prefill_time_seconds", "First chunk to first token.", _E2E),
                ("request_decode_time_seconds", "First token to last.", _E2E),
            )
        }
        self._prompt = Counter("vllm:prompt_tokens", "Prompt tokens.", ["model_name"], registry=self._registry)
        self._made = Counter("vllm:generation_tokens", "Generated tokens.", ["model_name"], registry=self._registry)
        self._done = Counter(
            "vllm:request_success", "Requests that have ended.", ["model_name", "finished_reason"],
            registry=self._registry,
        )  # fmt: skip

    def ended(self, state: RequestState, now: float) -> None:
        """Counts a request whose client has its answer."""
        arrived, first, last = state.request.arrival_at, state.first_at, now
        if state.outcome not in ("", "ok"):
            self._done.labels(self._model, "abort").inc()
            return
        tokens = state.request.output_tokens
        self._done.labels(self._model, "length" if state.outcome == "ok" else "stop").inc()
        self._prompt.labels(self._model).inc(state.request.prompt_tokens)
        self._made.labels(self._model).inc(tokens)
        seen = {
            "time_to_first_token_seconds": first - arrived,
            "e2e_request_latency_seconds": last - arrived,
            "request_queue_time_seconds": state.admitted_at - arrived,
            "request_prefill_time_seconds": first - state.admitted_at,
            "request_decode_time_seconds": last - first,
        }
        if tokens > 1:
            seen["time_per_output_token_seconds"] = seen["inter_token_latency_seconds"] = (last - first) / (tokens - 1)
        for name, value in seen.items():
            self._histograms[name].labels(self._model).observe(max(0.0, value))

    def text(self) -> bytes:
        """The exposition."""
        return generate_latest(self._registry)


class _Gauges(Collector):
    """What instances hold at the moment of a scrape."""

    def __init__(self, model: str, loop: ServingLoop) -> None:
        self._model, self._loop = model, loop

    def collect(self) -> Iterable[Metric]:
        """One sample for each instance, with its number as the label ``engine``."""
        instances = self._loop.instances
        yield self._gauge("num_requests_running", "Requests in the batch.", instances,
                          [each.state.running_count for each in instances])  # fmt: skip
        yield self._gauge("num_requests_waiting", "Requests in the queue.", instances,
                          [len(each.state.waiting) for each in instances])  # fmt: skip
        held = [each.state.pool.held_blocks / each.state.pool.capacity_blocks for each in instances]
        yield self._gauge("kv_cache_usage_perc", "Share of KV blocks that are held.", instances, held)
        for name, values in (
            ("prefix_cache_queries", [each.state.pool.queried_tokens for each in instances]),
            ("prefix_cache_hits", [each.state.pool.hit_tokens for each in instances]),
            ("num_preemptions", [each.progress.preemptions for each in instances]),
        ):
            counter = CounterMetricFamily(f"vllm:{name}", name.replace("_", " "), labels=["model_name", "engine"])
            for each, value in zip(instances, values, strict=True):
                counter.add_metric([self._model, str(each.state.number)], value)
            yield counter
        info = GaugeMetricFamily(
            "vllm:cache_config_info", "KV pools.", labels=["engine", "block_size", "num_gpu_blocks"]
        )
        for each in instances:
            pool = each.state.pool
            info.add_metric([str(each.state.number), str(pool.block_tokens), str(pool.capacity_blocks)], 1)
        yield info

    def _gauge(
        self, name: str, text: str, instances: Sequence[ServingInstance], values: Sequence[float]
    ) -> GaugeMetricFamily:
        gauge = GaugeMetricFamily(f"vllm:{name}", text, labels=["model_name", "engine"])
        for each, value in zip(instances, values, strict=True):
            gauge.add_metric([self._model, str(each.state.number)], value)
        return gauge
