"""The block that vLLM's and SGLang's serving benchmarks print."""

from __future__ import annotations

from controller.serving.metrics import ServingMetrics

WIDTH = 50


def benchmark_text(metrics: ServingMetrics) -> str:
    """The block, label for label."""
    time_s = metrics.duration_s or float("inf")
    lines = [f"{' Serving Benchmark Result ':=^{WIDTH}}"]
    lines += [_line(label, value) for label, value in (
        ("Successful requests:", metrics.completed),
        ("Failed requests:", metrics.failed),
        ("Benchmark duration (s):", metrics.duration_s),
        ("Total input tokens:", metrics.input_tokens),
        ("Total generated tokens:", metrics.output_tokens),
        ("Request throughput (req/s):", metrics.completed / time_s),
    )]  # fmt: skip
    if metrics.goodput_per_s is not None:
        lines.append(_line("Request goodput (req/s):", metrics.goodput_per_s))
    lines += [
        _line("Output token throughput (tok/s):", metrics.output_tokens / time_s),
        _line("Peak concurrent requests:", float(metrics.max_concurrency)),
        _line("Total token throughput (tok/s):", (metrics.input_tokens + metrics.output_tokens) / time_s),
    ]
    for title, name, summary in (
        ("Time to First Token", "TTFT", metrics.ttft),
        ("Time per Output Token (excl. 1st token)", "TPOT", metrics.tpot),
        ("Inter-token Latency", "ITL", metrics.itl),
        ("End-to-end Latency", "E2EL", metrics.e2el),
    ):
        lines.append(f"{title:-^{WIDTH}}")
        lines.append(_line(f"Mean {name} (ms):", summary.mean_s * 1e3))
        lines.append(_line(f"Median {name} (ms):", summary.median_s * 1e3))
        lines += [_line(f"P{share} {name} (ms):", value * 1e3) for share, value in summary.percentiles_s.items()]
    lines.append("=" * WIDTH)
    return "\n".join(lines)


def _line(label: str, value: float) -> str:
    text = f"{value}" if isinstance(value, int) else f"{value:.2f}"
    return f"{label:<40} {text:<10}".rstrip()
