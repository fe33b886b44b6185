"""Which of several servers gets a generation.

The least busy one, unless another has most of the prompt in its cache and is not much busier. What
a server has cached is not asked but remembered: for every run of 64 tokens a hash of all tokens up
to its end, and the server that last read it. A conversation's next prompt extends the last one, so
it goes where the last one went.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import islice

from motet.engine.remote.backend import Backend

_RUN = 64  # tokens
_REMEMBERED = 1 << 16  # runs: four million tokens
_MUCH_BUSIER = 2  # more streams than the least busy server, or half as many again


class Router:
    """Chooses among servers and remembers which prompts they have read."""

    def __init__(self, backends: Sequence[Backend]) -> None:
        self._backends = backends
        self._readers: OrderedDict[int, Backend] = OrderedDict()

    def choose(self, prompt: Sequence[int], tried: Sequence[Backend] = ()) -> Backend:
        """A server that was not tried yet; one that is not well only if there is no other."""
        untried = [backend for backend in self._backends if backend not in tried]
        well = [backend for backend in untried if not backend.rest]
        if not well:
            return min(untried, key=lambda backend: backend.rest)
        least = min(well, key=lambda backend: (backend.live, backend.started))
        known = self._reader_of_most(prompt)
        if known in well and known.live <= max(least.live + _MUCH_BUSIER, least.live * 1.5):
            return known
        return least

    def remember(self, prompt: Sequence[int], backend: Backend) -> None:
        """The server has read these tokens."""
        for run in _runs(prompt):
            self._readers[run] = backend
            self._readers.move_to_end(run)
        while len(self._readers) > _REMEMBERED:
            self._readers.popitem(last=False)

    def _reader_of_most(self, prompt: Sequence[int]) -> Backend | None:
        """Who has read at least half of the prompt from its beginning."""
        length = 0
        reader = None
        for run in _runs(prompt):
            if run not in self._readers:
                break
            reader = self._readers[run]
            length += _RUN
        return reader if 2 * length >= len(prompt) else None


def _runs(tokens: Sequence[int]) -> Iterator[int]:
    """A hash of the tokens up to the end of each whole run."""
    everything = iter(tokens)
    before = 0
    while len(run := tuple(islice(everything, _RUN))) == _RUN:
        before = hash((before, run))
        yield before
