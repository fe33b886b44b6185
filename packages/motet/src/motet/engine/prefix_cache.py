"""Finished work that later requests begin from: a tree over pages of token ids.

A node stands for 64 tokens behind those of its parents and keeps their keys and values, so a path
from the root is a prefix that some sequence has read. The pages are the sequences' own (see
native/model/page.hpp): full, never written again, and freed when nobody holds them any more. Since
a token's result has the same bits in every batch and chunk, what begins from the tree is bit for
bit what would have been computed.

Layers with a sliding window make a difference between two halves of a node. To go on behind a node,
the full layers need the pages of the whole path, but the sliding ones only those within reach of
the window, two for gpt-oss. Every node is given both halves as it comes, and each half is forgotten
by itself: a sliding page counts as used when it is made and when a sequence begins right behind it,
a full page whenever its path is walked. So the sliding pages in the middle of a long conversation
go soon, and those at its end, or where many requests part, stay. A path is as good as the deepest
node whose sliding pages are there.

What has not been used longest goes first, whenever somebody needs memory; there is no other limit.
Pages that a living sequence holds are passed over: forgetting them would free nothing.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import accumulate, count
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from motet import _native
from motet.engine.pages import PAGE

Tokens: TypeAlias = NDArray[np.int32]


class _Node:
    """64 tokens and what was computed of them."""

    __slots__ = (
        "children",
        "depth",
        "full",
        "full_used",
        "key",
        "parent",
        "sliding",
        "sliding_used",
    )

    def __init__(self, parent: _Node | None, key: bytes, full: _native.Page | None) -> None:
        self.parent = parent  # None once the node has been forgotten
        self.key = key
        self.depth: int = parent.depth + 1 if parent else 0
        self.children: dict[bytes, _Node] = {}
        self.full = full
        self.full_used = 0
        self.sliding: _native.Page | None = None
        self.sliding_used = 0


# When it was used last, 0 for the sliding half and 1 for the full one, depth, a tie-breaker, node.
_Entry: TypeAlias = tuple[int, int, int, int, _Node]


class PrefixCache:
    """The pages of all prefixes that have been read and not forgotten; not thread-safe.

    `reach`: how many sliding pages a sequence needs to begin behind a page.
    """

    def __init__(self, reach: int) -> None:
        self.bytes = 0
        self._reach = reach
        self._root = _Node(None, b"", None)
        self._now = 0
        self._serial = count()
        # Every sliding page has an entry, and so has every leaf; others may be out of date.
        self._heap: list[_Entry] = []

    def resume(self, sequence: _native.Sequence, tokens: Tokens) -> None:
        """Let a sequence begin with the longest known prefix of `tokens`, if it gains by it.

        The last token is never part of it: a model has to read one to say what comes next. What the
        sequence held before must be a prefix of the tokens too.
        """
        path = list(self._path(tokens[:-1]))
        while path and not self._complete(path):
            path.pop()
        if len(path) * PAGE <= sequence.length:
            return
        sequence.clear()
        ends = path[len(path) - self._reach_of(path) :]
        sequence.adopt(
            [node.full for node in path if node.full], [n.sliding for n in ends if n.sliding]
        )
        self._touch(path)

    def keep(self, sequence: _native.Sequence, tokens: Tokens) -> None:
        """Share the full pages of a sequence that has read `tokens`, so far as they are new."""
        path: list[_Node] = []
        node = self._root
        for index, key in enumerate(_keys(tokens[: sequence.length])):
            node = node.children.get(key) or self._add(node, key, sequence.full_page(index))
            if self._reach and not node.sliding and (page := sequence.sliding_page(index)):
                self._add_sliding(node, page)
            path.append(node)
        self._touch(path)

    def evict(self, wanted: int) -> int:
        """Forget what was not used longest until `wanted` bytes are free; the bytes freed."""
        freed = 0
        in_use: list[_Entry] = []
        while freed < wanted and self._heap:
            entry = heapq.heappop(self._heap)
            used, half, _, _, node = entry
            page = node.full if half else node.sliding
            if node.parent is None or page is None or (half and node.children):
                continue
            if used != (node.full_used if half else node.sliding_used):
                self._enter(node, half)
            elif page.shared:
                in_use.append(entry)
            else:
                freed += self._forget(node) if half else self._forget_sliding(node)
        for entry in in_use:
            heapq.heappush(self._heap, entry)
        return freed

    def can_evict(self, wanted: int) -> bool:
        """Whether `wanted` bytes could be freed; walks the tree until that is certain."""
        halves = (page for node in self._nodes() for page in (node.full, node.sliding))
        idle = accumulate(page.bytes for page in halves if page and not page.shared)
        return wanted <= 0 or any(bytes_ >= wanted for bytes_ in idle)

    def clear(self) -> None:
        """Forget everything that no sequence holds."""
        self.evict(self.bytes + 1)

    def check_integrity(self) -> None:
        """Raises AssertionError if the books are not in order; for tests, the tree may be large."""
        halves = {(id(entry[4]), entry[1]) for entry in self._heap}
        held = 0
        for node in (self._root, *self._nodes()):
            for key, child in node.children.items():
                assert child.parent is node
                assert child.key == key
                assert child.depth == node.depth + 1
                assert node is self._root or child.full_used <= node.full_used <= self._now
            if node is self._root:
                continue
            assert len(node.key) == PAGE * 4
            assert node.full
            assert node.children or (id(node), 1) in halves
            assert not node.sliding or (id(node), 0) in halves
            held += node.full.bytes + (node.sliding.bytes if node.sliding else 0)
        assert held == self.bytes

    def _nodes(self) -> Iterator[_Node]:
        ahead = list(self._root.children.values())
        while ahead:
            node = ahead.pop()
            ahead += node.children.values()
            yield node

    def _path(self, tokens: Tokens) -> Iterator[_Node]:
        node = self._root
        for key in _keys(tokens):
            if key not in node.children:
                return
            node = node.children[key]
            yield node

    def _complete(self, path: list[_Node]) -> bool:
        """Whether a sequence can go on behind the path's last node."""
        return all(node.sliding for node in path[len(path) - self._reach_of(path) :])

    def _reach_of(self, path: list[_Node]) -> int:
        return min(self._reach, len(path))

    def _touch(self, path: list[_Node]) -> None:
        self._now += 1
        for node in path:
            node.full_used = self._now
        for node in path[len(path) - self._reach_of(path) :]:
            node.sliding_used = self._now

    def _add(self, parent: _Node, key: bytes, page: _native.Page) -> _Node:
        node = parent.children[key] = _Node(parent, key, page)
        node.full_used = self._now
        self.bytes += page.bytes
        self._enter(node, 1)
        return node

    def _add_sliding(self, node: _Node, page: _native.Page) -> None:
        node.sliding = page
        node.sliding_used = self._now
        self.bytes += page.bytes
        self._enter(node, 0)

    def _enter(self, node: _Node, half: int) -> None:
        used = node.full_used if half else node.sliding_used
        heapq.heappush(self._heap, (used, half, node.depth, next(self._serial), node))

    def _forget(self, node: _Node) -> int:
        """Forget a leaf; the bytes freed."""
        assert node.full
        assert node.parent
        freed = node.full.bytes + self._forget_sliding(node)
        self.bytes -= node.full.bytes
        del node.parent.children[node.key]
        if not node.parent.children and node.parent is not self._root:
            self._enter(node.parent, 1)
        node.parent = node.full = None
        return freed

    def _forget_sliding(self, node: _Node) -> int:
        page, node.sliding = node.sliding, None
        if page is None:
            return 0
        self.bytes -= page.bytes
        return 0 if page.shared else page.bytes


def _keys(tokens: Tokens) -> Iterator[bytes]:
    """The tokens of each full page, as the tree knows them."""
    for end in range(PAGE, tokens.size + 1, PAGE):
        yield tokens[end - PAGE : end].tobytes()
