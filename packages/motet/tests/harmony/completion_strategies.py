"""Valid completions for hypothesis, as token ids over the whole vocabulary.

They have several messages on all channels, recipients before and behind the channel, formats with
and without `<|constrain|>`, any text, and ids that the tokenizer itself would not have chosen.
"""

from __future__ import annotations

import re

from hypothesis import strategies as st
from text_strategies import texts

from motet.harmony import ANALYSIS, COMMENTARY, FINAL, o200k_harmony

WORDS = o200k_harmony()

FUNCTIONS = st.from_regex(r"functions\.[a-zA-Z0-9_]([\w.-]{0,12}\w)?", fullmatch=True)
BUILTINS = st.sampled_from(("python", "browser.search", "browser.open", "browser.find"))
FORMATS = st.sampled_from(("", " json", " code", "<|constrain|>json", " <|constrain|>json"))


@st.composite
def pieces(draw: st.DrawFn, text: str) -> list[int]:
    """The ids of a text, cut somewhere first: models do not always write the longest tokens."""
    place = draw(st.just(0) | st.integers(0, len(text)))
    return [*WORDS.encode(text[:place]), *WORDS.encode(text[place:])]


@st.composite
def marked(draw: st.DrawFn, text: str) -> list[int]:
    """The ids of a header whose marks are spelled out."""
    found: list[int] = []
    for part in re.split(r"(<\|\w+\|>)", text):
        is_mark = part.startswith("<|")
        found += [WORDS.special[part[2:-2]]] if is_mark else draw(pieces(part))
    return found


@st.composite
def calls(draw: st.DrawFn) -> list[int]:
    """What follows the role in a call, its end excluded."""
    is_function = draw(st.booleans())
    recipient = draw(FUNCTIONS if is_function else BUILTINS)
    channel = COMMENTARY if is_function else draw(st.sampled_from((ANALYSIS, COMMENTARY)))
    written, to = f"<|channel|>{channel}", f" to={recipient}"
    form = draw(FORMATS)
    header = to + written + form if draw(st.booleans()) else written + to + form
    return [*draw(marked(header)), WORDS.message, *draw(pieces(draw(texts())))]


@st.composite
def sayings(draw: st.DrawFn, channel: str) -> list[int]:
    """What follows the role in a message to nobody, its end excluded."""
    header = draw(marked(f"<|channel|>{channel}"))
    return [*header, WORDS.message, *draw(pieces(draw(texts())))]


@st.composite
def completions(draw: st.DrawFn, last: str | None = None, name: str = "") -> list[int]:
    """A completion, sometimes cut short; `last` says what it ends in, a `call` or a channel."""
    before = draw(st.lists(st.sampled_from((ANALYSIS, COMMENTARY)), max_size=3))
    ids = draw(pieces(name))
    for channel in before:
        role = draw(pieces(f"assistant{name}"))
        ids += [*draw(sayings(channel)), WORDS.end, WORDS.start, *role]
    kind = last or draw(st.sampled_from(("call", ANALYSIS, COMMENTARY, FINAL)))
    is_call = kind == "call"
    ids += draw(calls() if is_call else sayings(kind))
    if draw(st.integers(0, 9)) == 0:
        return ids
    ends = (WORDS.call,) if is_call else (WORDS.return_, WORDS.end)
    return [*ids, draw(st.sampled_from(ends))]
