"""Bytes to text as they come, telling which bytes were no UTF-8."""

import codecs


class Utf8Reader:
    """Decodes a stream: a character appears once its last byte is there.

    Bytes that are no UTF-8 become U+FFFD in the text and are handed out beside it.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def feed(self, data: bytes) -> tuple[str, list[bytes]]:
        """The characters that `data` completes, and the invalid bytes among them."""
        return self._decode(data, final=False)

    def finish(self) -> tuple[str, list[bytes]]:
        """What an incomplete character at the end comes to."""
        return self._decode(b"", final=True)

    def _decode(self, data: bytes, *, final: bool) -> tuple[str, list[bytes]]:
        text = ""
        invalid: list[bytes] = []
        while True:
            try:
                return text + self._decoder.decode(data, final), invalid
            except UnicodeDecodeError as error:
                pending, start, end = error.object, error.start, error.end
                text += pending[:start].decode() + "\N{REPLACEMENT CHARACTER}"
                invalid.append(pending[start:end])
                data = pending[end:]
                self._decoder.reset()
