"""Requests from what a user writes: arrivals with lengths, or a file that somebody recorded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from controller.errors import BadWorkload
from controller.serving.client_request import RequestStreamSpec
from controller.serving.requests.arrivals import KINDS, read_arrivals
from controller.serving.requests.classes import read_classes
from controller.serving.requests.draw import draw_requests
from controller.serving.requests.files import read_request_file
from controller.serving.requests.length_model import read_lengths

NUM_PROMPTS = 1000
"""Requests that are drawn unless told otherwise, as in vLLM's benchmark."""


def open_requests(
    requests: str, lengths: str, num_prompts: int | None, seed: int, rate_per_s: float | None = None, classes: str = "",
    most_tokens: int | None = None,
) -> RequestStreamSpec:  # fmt: skip
    """The requests that `requests` and `lengths` mean.

    Args:
        requests: arrivals (``poisson:2.5/s``), or a file.
        lengths: needed with arrivals; a file has its own.
        num_prompts: how many; None for `NUM_PROMPTS`, or all of a file.
        seed: of everything that is drawn.
        rate_per_s: mean rate in place of the declared one; a file is stretched [1/s].
        classes: as text, with arrivals; "" for one class.
        most_tokens: prompts are cut so that no request is longer; None to leave them.

    Raises:
        BadWorkload: neither arrivals nor a file, or a file with a wrong line.
    """
    if requests.partition(":")[0] not in KINDS:
        path = Path(requests)
        if path.is_file():
            if lengths or classes:
                given = "--lengths" if lengths else "--classes"
                raise BadWorkload(f"{given} beside the file {path}: a file of requests has its own; remove one of them")
            return cut(read_request_file(path, num_prompts, rate_per_s), most_tokens)
        if Path(requests).suffix:
            raise BadWorkload(f"no file of requests {requests}; write the path of one that exists, or poisson:2.5/s")
    arrivals = read_arrivals(requests)
    if rate_per_s is not None:
        arrivals = arrivals.at_rate(rate_per_s)
    if not lengths:
        raise BadWorkload(f"requests {requests!r} need lengths: add --lengths in=1024,out=256, or --lengths sharegpt")
    count = NUM_PROMPTS if num_prompts is None else num_prompts
    name = f"{requests} {lengths}"
    return cut(draw_requests(arrivals, read_lengths(lengths), count, seed, read_classes(classes), name), most_tokens)


def cut(stream: RequestStreamSpec, most_tokens: int | None) -> RequestStreamSpec:
    """The requests with prompts, then outputs, cut to `most_tokens` together; says how many were."""
    if most_tokens is None:
        return stream
    if most_tokens < 2:
        raise BadWorkload(f"--max-model-len {most_tokens}; a request has at least 2 tokens")
    requests, count = list(stream.requests), 0
    for index, request in enumerate(requests):
        if request.total_tokens > most_tokens:
            output = min(request.output_tokens, most_tokens - 1)
            prompt = most_tokens - output
            size = request.prefix_block_tokens
            requests[index] = replace(
                request, prompt_tokens=prompt, output_tokens=output, prefix=request.prefix[: prompt // size]
            )
            count += 1
    note = f"{count} of {len(requests)} requests were cut to {most_tokens} tokens (--max-model-len)"
    return replace(stream, requests=requests, notes=(*stream.notes, note)) if count else stream
