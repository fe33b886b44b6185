"""What an engine holds now and has done so far, in figures: for metrics."""

from dataclasses import dataclass, field


@dataclass
class Totals:
    """What only ever grows, since the engine was made.

    Of the `prompt_tokens` of requests begun, `cached_tokens` were known and not read. Of the
    `generated_tokens`, `forced_tokens` came from constraints and took no step, and
    `accepted_tokens` were among the `drafted_tokens` that had been guessed. `tokens_read` went
    through the model in `steps`, those included that were read again after one of `preemptions`: a
    generation gave its memory to an older one.
    """

    steps: int = 0
    tokens_read: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    forced_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    preemptions: int = 0


@dataclass(frozen=True)
class EngineStatistics:
    """An engine at one moment.

    `live` generations take part in steps; `waiting` ones have not been let in yet or had to give
    way. Keys and values take `key_value_bytes` and never more than `key_value_limit`;
    `cached_bytes` of them are in the prefix cache, also those that live generations share.
    """

    live: int = 0
    waiting: int = 0
    key_value_bytes: int = 0
    cached_bytes: int = 0
    key_value_limit: int = 0
    totals: Totals = field(default_factory=Totals)
