"""The serving loop in a thread of its own, with requests that come and go while it runs.

On the virtual clock an instant of the loop is its wall time since start divided by the pace, and a token is handed out
when the clock has come to it. With a live model the loop goes on as fast as nodes compute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Condition, Thread

from controller.clock import wall_clock_s
from controller.errors import WindtunnelError
from controller.serving.client_request import ClientRequest
from controller.serving.http.bodies import ApiError
from controller.serving.http.token_source import TokenSource
from controller.serving.loop import ServingLoop
from controller.serving.state import ENDED, RequestState
from node.errors import NodeError

MOST_OPEN = 4096
"""Requests in the system at once; a further one is refused."""
POLL_S = 0.2
"""Longest time that the thread sleeps [s of wall time]."""


@dataclass(frozen=True, slots=True)
class AnswerNews:
    """News of a request.

    Attributes:
        text: that came with it.
        tokens: of the answer so far.
        finish: why it has ended (``stop``, ``length``); "" before.
        error: that ended it instead.
    """

    text: str = ""
    tokens: int = 0
    finish: str = ""
    error: ApiError | None = None


@dataclass(eq=False)
class OpenRequest:
    """A request that a client waits for.

    Attributes:
        number: in the loop.
        prompt_tokens: of its prompt.
        news: `AnswerNews` in order, for the client's event loop.
    """

    prompt: str | Sequence[int]
    answer_tokens: int
    stops: tuple[str, ...]
    ignore_eos: bool
    tell: Callable[[AnswerNews], None]
    number: int = -1
    prompt_tokens: int = 0
    state: RequestState | None = None
    told: int = 0
    told_text: str = ""
    news: asyncio.Queue[AnswerNews] = field(default_factory=asyncio.Queue)


class ServingEngine:
    """A server that runs.

    Attributes:
        failure: what ended the loop; None while it runs.
        ended: called in the engine's thread with every request that has ended.
    """

    def __init__(
        self, loop: ServingLoop, tokens: TokenSource, most_tokens: int, pace: float | None,
        ended: Callable[[RequestState, float], None] | None = None,
    ) -> None:  # fmt: skip
        """A server at rest.

        Args:
            loop: over an open stream.
            tokens: texts of requests.
            most_tokens: of a prompt and its answer.
            pace: wall time over virtual time; None to go on as fast as the loop can.
            ended: told of every request that has ended.
        """
        self.loop, self.tokens, self.most_tokens, self.pace = loop, tokens, most_tokens, pace
        self.failure: BaseException | None = None
        self.ended = ended or (lambda state, now: None)
        self._change = Condition()
        self._asked: list[OpenRequest] = []
        self._left: list[OpenRequest] = []
        self._open: dict[int, OpenRequest] = {}
        self._ending: list[RequestState] = []
        self._is_closing = False
        self._numbers = 0
        self._begun_s = wall_clock_s()
        self._thread = Thread(target=self._run, name="serving", daemon=True)

    # -- what clients call ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Lets the loop run; instant 0 is now."""
        self._begun_s = wall_clock_s()
        self._thread.start()

    def close(self) -> None:
        """Ends the thread; open requests get an error."""
        with self._change:
            self._is_closing = True
            self._change.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout=30.0)

    @property
    def is_alive(self) -> bool:
        """Whether the loop runs."""
        return self._thread.is_alive() and self.failure is None

    @property
    def is_ready(self) -> bool:
        """Whether some instance takes requests."""
        return self.is_alive and self.loop.takes_requests

    def ask(
        self, prompt: str | Sequence[int], answer_tokens: int, stops: tuple[str, ...] = (), *, ignore_eos: bool = False
    ) -> OpenRequest:
        """Sends a request; its news come to the event loop that runs here.

        Raises:
            ApiError: no instance takes requests, or too many are open.
        """
        if not self.is_ready:
            why = "no instance takes requests now" if self.is_alive else f"the server has failed: {self.failure}"
            raise ApiError(503, f"{why}; try again later", "server_error", code="unavailable")
        clients = asyncio.get_running_loop()

        def tell(news: AnswerNews) -> None:
            with suppress(RuntimeError):  # the client's event loop is gone
                clients.call_soon_threadsafe(asked.news.put_nowait, news)

        asked = OpenRequest(prompt, answer_tokens, stops, ignore_eos, tell)
        with self._change:
            if len(self._open) + len(self._asked) >= MOST_OPEN:
                raise ApiError(
                    503, f"{MOST_OPEN} requests are open; try again later", "server_error", code="overloaded"
                )
            self._asked.append(asked)
            self._change.notify()
        return asked

    def leave(self, asked: OpenRequest) -> None:
        """Says that nobody waits for a request any more."""
        with self._change:
            self._left.append(asked)
            self._change.notify()

    # -- the thread ----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while True:
                with self._change:
                    if not (self._asked or self._left or self._is_closing):
                        self._change.wait(self._pause_s())
                    asked, self._asked = self._asked, []
                    left, self._left = self._left, []
                    if self._is_closing:
                        break
                self._turn(asked, left)
        except (WindtunnelError, NodeError, AssertionError) as error:
            self.failure = error
        finally:
            why = self.failure or "the server has been closed"
            for each in [*self._open.values(), *self._asked]:
                each.tell(AnswerNews(error=ApiError(503, f"{why}", "server_error", code="server_closed")))

    @property
    def _virtual_now(self) -> float:
        """Instant that the loop may run to [s]."""
        return (wall_clock_s() - self._begun_s) / self.pace if self.pace is not None else self.loop.now

    def _pause_s(self) -> float:
        """Wall time until something happens, if nobody comes [s]."""
        if self.pace is None:
            return POLL_S if self.loop.is_idle else 0.0
        return max(0.0, min(POLL_S, (self.loop.next_token_at() - self._virtual_now) * self.pace))

    def _turn(self, asked: Sequence[OpenRequest], left: Sequence[OpenRequest]) -> None:
        now = self._virtual_now
        if self.pace is not None:
            self.loop.advance(now)
        for each in asked:
            self._admit(each)
        for each in left:
            self._let_go(each)
        if self.pace is None:
            self.loop.advance_once()
        for each in list(self._open.values()):
            self._tell(each)
        for state in [state for state in self._ending if state.stage == ENDED]:
            self._ending.remove(state)
            self.tokens.forget(state.request.number)
            self.loop.forget_ended()

    def _admit(self, asked: OpenRequest) -> None:
        asked.number, self._numbers = self._numbers, self._numbers + 1
        asked.prompt_tokens = self.tokens.begin(asked.number, asked.prompt)
        total = asked.prompt_tokens + asked.answer_tokens
        if not asked.prompt_tokens or total > self.most_tokens:
            self.tokens.forget(asked.number)
            asked.tell(AnswerNews(error=ApiError(
                400, f"the prompt has {asked.prompt_tokens} tokens and the answer may have {asked.answer_tokens}; this "
                f"server takes a prompt of at least one token, and {self.most_tokens} of both together",
                param="max_tokens", code="context_length_exceeded",
            )))  # fmt: skip
            return
        request = ClientRequest(asked.number, self.loop.now, asked.prompt_tokens, asked.answer_tokens)
        self._open[asked.number] = asked
        asked.state = self.loop.add(request)

    def _let_go(self, asked: OpenRequest) -> None:
        if asked.state is not None and asked.number in self._open:
            self.loop.leave(asked.state, "cancelled")

    def _tell(self, asked: OpenRequest) -> None:
        """Hands out the tokens that have come since the last time, and ends a text that has come to its end."""
        state = asked.state
        assert state is not None, "an open request is in the loop"
        has_ended = state.stage == ENDED
        if has_ended and state.outcome != "ok":
            self._end(asked, AnswerNews(error=ApiError(503, state.outcome, "server_error", code="request_lost")))
            return
        count = asked.answer_tokens if has_ended and state.outcome == "ok" else self.loop.generated(state)
        while asked.told < count:
            asked.told += 1
            text = self.tokens.text(asked.number, asked.told)
            finish, text = self._finish(asked, text)
            is_whole = bool(finish) or not text.endswith("\N{REPLACEMENT CHARACTER}")
            fresh = text[len(asked.told_text) :] if is_whole else ""
            asked.told_text += fresh
            news = AnswerNews(fresh, asked.told, finish)
            if finish:
                if not has_ended:
                    self.loop.leave(state, "ok")
                self._end(asked, news)
                return
            asked.tell(news)

    def _finish(self, asked: OpenRequest, text: str) -> tuple[str, str]:
        """Why the answer ends with its latest token, and its text up to there."""
        for stop in asked.stops:
            at = text.find(stop)
            if at >= 0:
                return "stop", text[:at]
        if not asked.ignore_eos and self.tokens.ends(asked.number, asked.told):
            return "stop", text
        return ("length" if asked.told >= asked.answer_tokens else ""), text

    def _end(self, asked: OpenRequest, news: AnswerNews) -> None:
        state = asked.state
        assert state is not None, "an open request is in the loop"
        del self._open[asked.number]
        self._ending.append(state)
        self.ended(state, self.loop.now)
        asked.tell(news)
