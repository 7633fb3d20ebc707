"""Samples bent at random, the same for the same seed: the input of the fuzz tests."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable, Iterator, Sequence

from tests.support.corpora import corpus

CASES = 20_000
"""In `make test`; `make soak` does 1,000,000 (tests/conftest.py)."""
_SEED = int(os.environ.get("WAYPOST_FUZZ_SEED", "0"))
_MOST = 4000
_MARKS = [
    b"\r\n",
    b"\r\n ",
    b"\r\n\t",
    b"\r",
    b"\n",
    b"\0",
    b" ",
    b"\t",
    b";",
    b"=",
    b":",
    b",",
    b".",
    b"@",
    b"<",
    b">",
]
_MARKS += [
    b'"',
    b"(",
    b")",
    b"\\",
    b"[",
    b"]",
    b"/",
    b"-",
    b"%",
    b"\xc3\xa9",
    b"\xff",
    b"\xe2\x80\xae",
    b"0",
    b"9" * 20,
]


def run(samples: Sequence[bytes], count: int, check: Callable[[bytes], None], words: Sequence[bytes] = ()) -> None:
    """Run `check` for each of `count` bent samples. An exception comes with the number that repeats the case."""
    for number in range(count):
        octets = bend(samples, random.Random(f"{_SEED}-{number}"), words)
        with telling(f"case {number} of WAYPOST_FUZZ_SEED={_SEED}: {octets!r}"):
            check(octets)


@contextlib.contextmanager
def telling(what: str) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        error.add_note(what)
        raise


def bend(samples: Sequence[bytes], dice: random.Random, words: Sequence[bytes] = ()) -> bytes:
    """A sample with up to six changes: octets flipped, pieces cut, doubled, moved, or put in from elsewhere."""
    octets = bytearray(dice.choice(samples)[:_MOST])
    for _ in range(dice.randrange(7)):
        start = dice.randrange(len(octets) + 1)
        end = min(len(octets), start + dice.choice((1, 2, 8, 40)))
        match dice.randrange(7):
            case 0 if octets:
                octets[min(start, len(octets) - 1)] ^= 1 << dice.randrange(8)
            case 1:
                del octets[start:end]
            case 2:
                octets[start:start] = octets[start:end] * dice.choice((1, 2, 30))
            case 3:
                piece = octets[start:end]
                del octets[start:end]
                at = dice.randrange(len(octets) + 1)
                octets[at:at] = piece
            case 4:
                octets[start:end] = dice.choice(_MARKS)
            case 5 if words:
                octets[start:start] = dice.choice(words)
            case _:
                other = dice.choice(samples)[:_MOST]
                at = dice.randrange(len(other) + 1)
                octets[start:end] = other[at : at + dice.choice((4, 20, 80))]
    return bytes(octets)


def headers() -> list[bytes]:
    """Header blocks of the corpora, with their final CRLF."""
    files = [file for folder in ("dkim", "mutations/base", "mime") for file in sorted(corpus(folder).rglob("*.eml"))]
    blocks = [
        file.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n").partition(b"\r\n\r\n")[0] for file in files
    ]
    return sorted({block[:_MOST] + b"\r\n" for block in blocks if block})


def values(name: bytes) -> list[bytes]:
    """Values of that field in those headers."""
    found = set()
    for block in headers():
        for field in block.replace(b"\r\n ", b"\0 ").replace(b"\r\n\t", b"\0\t").split(b"\r\n"):
            if field.lower().startswith(name.lower() + b":"):
                found.add(field.partition(b":")[2].replace(b"\0", b"\r\n"))
    return sorted(found)
