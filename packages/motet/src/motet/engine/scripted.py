"""An engine without a model: a public test double.

It plays given token lists, one for each request, and keeps the requests it was given. Use it to
test everything above the engine without weights, threads or chance.
"""

from collections import deque
from collections.abc import AsyncGenerator, Iterable, Sequence

from motet.engine.errors import EngineError
from motet.engine.request import FinishReason, GeneratedTokens, GenerationRequest, TokenLogprob

Script = Sequence[int | EngineError]


class ScriptedEngine:
    """Answers the n-th request with the n-th script, one token at a time.

    It plays what is in the script, whatever a constraint says. A script ends early at a stop id or
    at `maximum_tokens`; where it ends otherwise, the reason is LENGTH. An EngineError among the
    tokens is raised in its place, and so is one when the scripts have run out. Every token's log
    probability is 0.
    """

    def __init__(
        self,
        scripts: Iterable[Script],
        *,
        vocabulary_size: int = 201_088,
        context_length: int = 131_072,
    ) -> None:
        self.obeys_constraints = False
        self.reads_grammars = False
        self.vocabulary_size = vocabulary_size
        self.context_length = context_length
        self.requests: list[GenerationRequest] = []
        self.closed = False
        self._scripts = deque(scripts)

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GeneratedTokens, None]:
        """Play the next script."""
        self.requests.append(request)
        if self.closed:
            raise EngineError("the engine has been closed")
        if not self._scripts:
            raise EngineError("the scripted engine has no script left")
        script = self._scripts.popleft()
        limit = len(script) if request.maximum_tokens is None else request.maximum_tokens
        for position, token in enumerate(script[:limit], start=1):
            if isinstance(token, EngineError):
                raise token
            finish = None
            if token in request.stop_ids:
                finish = FinishReason.STOP
            elif position == min(limit, len(script)):
                finish = FinishReason.LENGTH
            yield GeneratedTokens((token,), _certain(request, token), finish)
            if finish:
                return

    async def close(self) -> None:
        """Refuse further requests."""
        self.closed = True


def _certain(request: GenerationRequest, token: int) -> tuple[TokenLogprob, ...] | None:
    if request.top_logprobs is None:
        return None
    return (TokenLogprob(token, 0.0, ((token, 0.0),) if request.top_logprobs else ()),)
