"""What clients may send to the endpoint, and the errors that they get for the rest.

Fields as OpenAI's API reference names them; unknown ones are ignored, as vLLM does, and those that would change the
answer in a way that this server cannot give are refused by name.
Decoding is greedy whatever ``temperature`` and ``top_p`` say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MOST_BODY_BYTES = 4 << 20
"""Of a request."""
ANSWER_TOKENS = 16
"""Of an answer where nothing else is said, as OpenAI's completions have it."""
CHAT_TOKENS = 128
"""The same of a chat: assumed."""


class ApiError(Exception):
    """An answer that is an error.

    Attributes:
        status: HTTP status.
        message: for people.
        kind, param, code: as OpenAI's error objects have them.
    """

    def __init__(self, status: int, message: str, kind: str = "invalid_request_error", param: str | None = None,
                 code: str | None = None) -> None:  # fmt: skip
        super().__init__(message)
        self.status, self.message, self.kind, self.param, self.code = status, message, kind, param, code

    def to_json(self) -> dict[str, Any]:
        """The body of the answer."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}


class AnswerStream(BaseModel):
    """How an answer is streamed."""

    include_usage: bool = False


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    model: str
    stream: bool = False
    stream_options: AnswerStream | None = None
    stop: str | list[str] | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    n: int = 1
    echo: bool = False
    best_of: int | None = None
    logprobs: int | bool | None = None
    tools: list[Any] | None = None
    ignore_eos: bool = False

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts that end the answer."""
        return tuple([self.stop] if isinstance(self.stop, str) else self.stop or [])

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with the count of its tokens."""
        return self.stream_options is not None and self.stream_options.include_usage

    def check(self) -> None:
        """Refuses what this server cannot give.

        Raises:
            ApiError: names the field.
        """
        refused = {
            "n": self.n != 1, "best_of": self.best_of not in (None, 1), "echo": self.echo,
            "logprobs": self.logprobs not in (None, False, 0), "tools": bool(self.tools),
        }  # fmt: skip
        for name, is_refused in refused.items():
            if is_refused:
                raise ApiError(
                    400, f"{name} is {getattr(self, name)!r}, which this server does not offer: remove it", param=name
                )
        if len(self.stops) > 4 or not all(self.stops):
            raise ApiError(400, "stop takes up to 4 texts, none of them empty", param="stop")


class CompletionBody(_Body):
    """A text, or token ids, that is to go on."""

    prompt: str | list[int] | list[str]
    max_tokens: int | None = Field(None, ge=1)

    @property
    def prompts(self) -> list[str | Sequence[int]]:
        """One for each answer."""
        if isinstance(self.prompt, list) and self.prompt and isinstance(self.prompt[0], str):
            return list(self.prompt)
        return [self.prompt]  # type: ignore[list-item]

    @property
    def answer_tokens(self) -> int:
        """Most tokens of the answer."""
        return self.max_tokens or ANSWER_TOKENS


class Message(BaseModel):
    """One turn of a chat."""

    role: str
    content: str | list[dict[str, Any]] | None = None

    @property
    def text(self) -> str:
        """Its text; parts of other kinds are refused.

        Raises:
            ApiError: an image or a sound.
        """
        if self.content is None or isinstance(self.content, str):
            return self.content or ""
        for part in self.content:
            if part.get("type") != "text" or not isinstance(part.get("text"), str):
                raise ApiError(400, f"a message has a part of type {part.get('type')!r}; this server takes text alone",
                               param="messages")  # fmt: skip
        return "".join(part["text"] for part in self.content)


class ChatBody(_Body):
    """Turns of a chat that wants the next one."""

    messages: list[Message] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)

    @property
    def prompts(self) -> list[str | Sequence[int]]:
        """The whole chat as one text, a line a turn: no model here was taught a template of its own."""
        lines = [f"{message.role}: {message.text}" for message in self.messages]
        return ["\n".join([*lines, "assistant:"])]

    @property
    def answer_tokens(self) -> int:
        """Most tokens of the answer."""
        return self.max_completion_tokens or self.max_tokens or CHAT_TOKENS


def read_body(raw: bytes, kind: type[CompletionBody] | type[ChatBody]) -> CompletionBody | ChatBody:
    """What a client has sent.

    Raises:
        ApiError: no JSON, or a field that is missing or of another kind; names it.
    """
    try:
        body = kind.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "json_invalid":
            raise ApiError(400, f"the body is no JSON object: {first['msg']}") from None
        raise ApiError(400, f"{name or 'body'}: {first['msg']}", param=name or None) from None
    body.check()
    return body
