"""The routes of the endpoint, on starlette."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from controller.clock import calendar_now
from controller.serving.http.bodies import (
    MOST_BODY_BYTES,
    ApiError,
    ChatBody,
    CompletionBody,
    read_body,
)
from controller.serving.http.engine import AnswerNews, OpenRequest, ServingEngine
from controller.serving.http.prometheus import ServerMetrics

_LOOK_S = 0.5
"""How often a request that waits looks whether its client is still there [s of wall time]."""
Body = CompletionBody | ChatBody
Handler = Callable[[Request], Awaitable[Response]]


class OpenAiEndpoint:
    """Handlers over one engine."""

    def __init__(self, engine: ServingEngine, metrics: ServerMetrics, model: str) -> None:
        self._engine, self._metrics, self._model = engine, metrics, model
        self._created = int(calendar_now().timestamp())
        self._headers = {"x-windtunnel-tokens": "computed" if engine.tokens.is_real else "placeholders"}

    def app(self) -> Starlette:
        """The ASGI application."""
        routes = [
            Route("/v1/models", self._guarded(self._models)),
            Route("/v1/models/{name:path}", self._guarded(self._one_model)),
            Route("/v1/completions", self._guarded(self._completions), methods=["POST"]),
            Route("/v1/chat/completions", self._guarded(self._chat), methods=["POST"]),
            Route("/health", self._health),
            Route("/ready", self._ready),
            Route("/metrics", self._metrics_text),
        ]
        return Starlette(routes=routes)

    def _guarded(self, handler: Handler) -> Handler:
        """`handler`, whose errors become answers."""

        async def guarded(request: Request) -> Response:
            try:
                return await handler(request)
            except ApiError as error:
                again = {"retry-after": "1"} if error.status == 503 else {}
                return JSONResponse(error.to_json(), error.status, {**self._headers, **again})
            except ClientDisconnect:
                return Response(status_code=499)

        return guarded

    # -- what a server is ----------------------------------------------------------------------------------------------

    async def _health(self, _: Request) -> Response:
        return Response(status_code=200 if self._engine.is_alive else 503)

    async def _ready(self, _: Request) -> Response:
        return Response(status_code=200 if self._engine.is_ready else 503)

    async def _metrics_text(self, _: Request) -> Response:
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    def _card(self) -> dict[str, Any]:
        return {
            "id": self._model, "object": "model", "created": self._created, "owned_by": "windtunnel",
            "max_model_len": self._engine.most_tokens, "tokens": self._headers["x-windtunnel-tokens"],
        }  # fmt: skip

    async def _models(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": [self._card()]}, headers=self._headers)

    async def _one_model(self, request: Request) -> Response:
        self._check_model(request.path_params["name"])
        return JSONResponse(self._card(), headers=self._headers)

    def _check_model(self, name: str) -> None:
        if name != self._model:
            raise ApiError(404, f"the model {name!r} does not exist; this server has {self._model!r}", param="model",
                           code="model_not_found")  # fmt: skip

    # -- answers -------------------------------------------------------------------------------------------------------

    async def _completions(self, request: Request) -> Response:
        return await self._answer(request, CompletionBody, "text_completion", "cmpl")

    async def _chat(self, request: Request) -> Response:
        return await self._answer(request, ChatBody, "chat.completion", "chatcmpl")

    async def _answer(self, request: Request, kind: type[CompletionBody] | type[ChatBody], what: str, prefix: str
                      ) -> Response:  # fmt: skip
        body = read_body(await _read(request), kind)
        self._check_model(body.model)
        prompts = body.prompts
        if body.stream and len(prompts) > 1:
            raise ApiError(400, f"{len(prompts)} prompts in one stream; send one", param="prompt")
        asked = [
            self._engine.ask(prompt, body.answer_tokens, body.stops, ignore_eos=body.ignore_eos) for prompt in prompts
        ]
        if body.stream:
            first = await self._next(request, asked[0])  # so that a refusal is an answer of its own
            name = f"{prefix}-{asked[0].number}"
            stream = self._stream(asked[0], body, first, name, what)
            return StreamingResponse(stream, media_type="text/event-stream", headers=self._headers)
        try:
            choices, made = [], 0
            for index, each in enumerate(asked):
                text, last = await self._whole(request, each)
                choices.append(_choice(what, index, text, last.finish))
                made += last.tokens
        except BaseException:
            for each in asked:
                self._engine.leave(each)
            raise
        prompt = sum(each.prompt_tokens for each in asked)
        content = self._object(f"{prefix}-{asked[0].number}", what, choices)
        return JSONResponse({**content, "usage": _usage(prompt, made)}, headers=self._headers)

    async def _whole(self, request: Request, asked: OpenRequest) -> tuple[str, AnswerNews]:
        text = ""
        while True:
            news = await self._next(request, asked)
            text += news.text
            if news.finish:
                return text, news

    async def _next(self, request: Request, asked: OpenRequest) -> AnswerNews:
        """The next news of a request.

        Raises:
            ApiError: it has ended with an error.
            ClientDisconnect: nobody waits for it.
        """
        while True:
            try:
                news = await asyncio.wait_for(asked.news.get(), _LOOK_S)
            except TimeoutError:
                if await request.is_disconnected():
                    self._engine.leave(asked)
                    raise ClientDisconnect from None
                continue
            if news.error is not None:
                raise news.error
            return news

    async def _stream(
        self, asked: OpenRequest, body: Body, first: AnswerNews, name: str, what: str
    ) -> AsyncIterator[str]:  # fmt: skip
        """Server-sent events; whoever stops reading them ends the request."""
        chunk = what if what == "text_completion" else f"{what}.chunk"
        news = first
        try:
            if what != "text_completion":
                start = [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]
                yield _event(self._object(name, chunk, start))
            while True:
                if news.text or news.finish:
                    yield _event(self._object(name, chunk, [_piece(what, news)]))
                if news.finish:
                    break
                news = await asked.news.get()
                if news.error is not None:
                    yield _event(news.error.to_json())
                    break
            if body.include_usage and news.error is None:
                usage = _usage(asked.prompt_tokens, news.tokens)
                yield _event({**self._object(name, chunk, []), "usage": usage})
            yield "data: [DONE]\n\n"
        finally:
            if not news.finish:
                self._engine.leave(asked)

    def _object(self, name: str, what: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": name, "object": what, "created": int(calendar_now().timestamp()), "model": self._model,
            "choices": choices,
            "system_fingerprint": f"windtunnel-{self._headers['x-windtunnel-tokens']}",
        }  # fmt: skip


async def _read(request: Request) -> bytes:
    """The body, as far as it is no larger than one may be."""
    found = bytearray()
    async for part in request.stream():
        found += part
        if len(found) > MOST_BODY_BYTES:
            raise ApiError(413, f"the body is larger than {MOST_BODY_BYTES} bytes; send a shorter prompt")
    return bytes(found)


def _choice(what: str, index: int, text: str, finish: str) -> dict[str, Any]:
    if what == "text_completion":
        return {"index": index, "text": text, "logprobs": None, "finish_reason": finish}
    return {"index": index, "message": {"role": "assistant", "content": text}, "logprobs": None,
            "finish_reason": finish}  # fmt: skip


def _piece(what: str, news: AnswerNews) -> dict[str, Any]:
    finish = news.finish or None
    if what == "text_completion":
        return {"index": 0, "text": news.text, "logprobs": None, "finish_reason": finish}
    return {"index": 0, "delta": {"content": news.text} if news.text else {}, "finish_reason": finish}


def _usage(prompt: int, made: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}


def _event(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content)}\n\n"
