"""API keys: who may ask, and how much at once.

A keys file has a line for each key: a name, the SHA-256 of the key in hexadecimal and, if wanted,
how many requests it may have at once. What follows `#` is a remark. Keys are random and long, so a
plain hash is enough: there is nothing to guess. They can also come as they are in MOTET_API_KEYS,
with commas between them.
"""

from __future__ import annotations

import hmac
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from motet.server.errors import ApiError, busy
from motet.server.settings import Settings, SettingsError

ENVIRONMENT = "MOTET_API_KEYS"
NOBODY = "anonymous"
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Key:
    """A key by its hash; `requests` of 0 is any number at once."""

    name: str
    hash: bytes
    requests: int


class KeyRing:
    """All keys of a server, and the requests they have now."""

    def __init__(self, keys: tuple[Key, ...]) -> None:
        self._keys = keys
        self._running: Counter[str] = Counter()

    @property
    def is_empty(self) -> bool:
        """Whether nobody is asked for a key."""
        return not self._keys

    def owner(self, authorization: str | None) -> Key:
        """Whose key it is, from `Bearer KEY`. Raises ApiError with status 401."""
        if not self._keys:
            return Key(NOBODY, b"", 0)
        scheme, _, given = (authorization or "").partition(" ")
        hashed = sha256(given.strip().encode("utf-8", "surrogateescape")).digest()
        # Every key is compared, so that the time tells nothing.
        matches = [key for key in self._keys if hmac.compare_digest(key.hash, hashed)]
        if scheme.lower() != "bearer" or not matches:
            raise ApiError(
                "This server wants a valid API key: send the header Authorization: Bearer KEY.",
                status=401,
                kind="authentication_error",
                code="invalid_api_key",
                headers={"www-authenticate": "Bearer"},
            )
        return matches[0]

    @contextmanager
    def admitted(self, key: Key) -> Iterator[None]:
        """Count a request while it runs. Raises ApiError with status 429 if there are too many."""
        if key.requests and self._running[key.name] >= key.requests:
            raise busy(f"This key may have {key.requests} requests at once; wait for one to end.")
        self._running[key.name] += 1
        try:
            yield
        finally:
            self._running[key.name] -= 1


def read_keys(settings: Settings, environment: Mapping[str, str] = os.environ) -> KeyRing:
    """The keys of file and environment. Raises SettingsError."""
    keys = list(_from_file(settings.keys, settings.requests_per_key)) if settings.keys else []
    given = [text.strip() for text in environment.get(ENVIRONMENT, "").split(",") if text.strip()]
    keys += [
        Key(f"environment-{number}", sha256(text.encode()).digest(), settings.requests_per_key)
        for number, text in enumerate(given, start=1)
    ]
    return KeyRing(tuple(keys))


def _from_file(path: Path, requests: int) -> Iterator[Key]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"The keys file {path} cannot be read: {error}.") from error
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        is_right = len(words) in (2, 3) and _HASH.fullmatch(words[1])
        if not is_right or not all(word.isdigit() for word in words[2:]):
            raise SettingsError(
                f"{path}, line {number}: write a name, the SHA-256 of the key in lower case"
                " hexadecimal and, if wanted, a number of requests."
            )
        yield Key(words[0], bytes.fromhex(words[1]), int(words[2]) if words[2:] else requests)
