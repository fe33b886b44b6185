"""Stop texts: the answer is what a reader of the whole text would cut, however it comes."""

from hypothesis import given
from hypothesis import strategies as st

from motet.server.stops import StopCutter

letters = st.text("abc", max_size=12)


def cut(text: str, stops: list[str]) -> tuple[str, bool]:
    """The text before the stop text that is complete first, reading letter by letter."""
    for end in range(len(text) + 1):
        starts = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if starts:
            return text[: min(starts)], True
    return text, False


@given(st.lists(letters, max_size=8), st.lists(st.text("abc", min_size=1, max_size=4), max_size=3))
def test_pieces_do_not_matter(pieces: list[str], stops: list[str]) -> None:
    cutter = StopCutter(stops)
    shown = "".join(cutter.feed(piece) for piece in pieces) + cutter.finish()
    assert (shown, cutter.stopped) == cut("".join(pieces), stops)


@given(st.lists(letters, max_size=8), st.lists(st.text("abc", min_size=1, max_size=4), max_size=3))
def test_no_more_is_held_back_than_may_become_a_stop(pieces: list[str], stops: list[str]) -> None:
    cutter = StopCutter(stops)
    seen = shown = ""
    for piece in pieces:
        seen += piece
        shown += cutter.feed(piece)
        if cutter.stopped:
            return
        held = seen[len(shown) :]
        assert held == "" or any(stop.startswith(held) for stop in stops)
