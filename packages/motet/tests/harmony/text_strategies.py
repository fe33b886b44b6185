"""Texts for the tokenizer's properties, generated quickly.

Hypothesis takes about a millisecond to draw a short text character by character. Drawing one long
byte string and reading it as text costs a hundredth of that and shrinks as well: most byte values
stand for a fragment that is hard for a tokenizer, the others begin any code point.
"""

from hypothesis import strategies as st

FRAGMENTS = (
    *(" ", " ", "  ", "   ", "\t", "\n", "\r", "\r\n", "\v", "\x85", "\xa0", "\u3000", "\u2028"),
    *("a", "b", "A", "Z", "é", "É", "ß", "ſ", "ʰ", "ª", "ǅ", "я", "Я", "σ", "Σ", "İ", "ı"),
    *("'", "’", "'s", "'T", "'re", "'VE", "'ll", "'ſ", "d", "t", "the", " of", "ing", "HTTP"),
    *("0", "1", "23", "4567", "²", "Ⅷ", "½", "١", "१", "１"),
    *("!", "?", ".", ",", "/", "//", "_", "-", "(", "}", '"', "\\", "#", "=", "€", "→", "、"),
    *("漢", "字", "か", "ー", "한", "ก", "ำ", "ا", "ش", "ִ", "क", "्", "ி", "\u0301", "\u0308"),
    *("😀", "🏽", "🇺", "\u200d", "\ufe0f", "\u200b", "\ufeff", "\ufffd", "\x00", "\x1c", "\x7f"),
    *("<|", "|>", "<|end|>", "<|start|>", "<|reserved_200018|>", "<|endofprompt|>"),
)
ANY_CODE_POINT_FROM = 200


def read_text(data: bytes) -> str:
    """The text that `data` stands for."""
    parts: list[str] = []
    stream = iter(data)
    for byte in stream:
        if byte < ANY_CODE_POINT_FROM:
            parts.append(FRAGMENTS[byte % len(FRAGMENTS)])
            continue
        code_point = next(stream, 0) << 8 | next(stream, 0)
        if byte % 4 == 0:
            code_point += (byte // 4 % 16 + 1) << 16
        if not 0xD800 <= code_point <= 0xDFFF:
            parts.append(chr(code_point))
    return "".join(parts)


def texts(max_bytes: int = 60) -> st.SearchStrategy[str]:
    """One text."""
    return st.binary(max_size=max_bytes).map(read_text)


def many_texts(count: int) -> st.SearchStrategy[list[str]]:
    """`count` texts at once, from nothing to about 40 fragments each."""

    def cut(data: bytes) -> list[str]:
        return [read_text(data[i * len(data) // count :][: i % 41]) for i in range(count)]

    return st.binary(min_size=20 * count, max_size=40 * count).map(cut)
