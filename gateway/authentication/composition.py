"""Signature fields of our own, composed: DKIM-Signature (RFC 6376) and the two of an ARC set that sign (RFC 8617)."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence

from gateway.authentication.dkimpy import SignedHeader
from gateway.mail.folding import fold
from gateway.mail.header import Field
from gateway.model.message import Evidence

DIGEST: tuple[str, int | None] = ("relaxed", None)
"""The body digest that our signatures need among the evidence's, as `body.BodyHasher` is asked for it."""
_LONGEST_WORD = 64


class CannotSign(ValueError):
    """The evidence lacks the body digest that a signature needs."""


def body_hash(evidence: Evidence) -> str:
    """bh=. Raises CannotSign."""
    for digest in evidence.digests:
        if (digest.canonicalisation, digest.length) == DIGEST:
            return base64.b64encode(digest.digest).decode()
    raise CannotSign("the body was not digested for a signature")


def compose_signature(
    name: str,
    tags: dict[str, str],
    block: bytes,
    cover: Callable[[SignedHeader, Field], Sequence[Field]],
    header: Sequence[Field],
    sign: Callable[[bytes], bytes],
) -> bytes:
    """The field with its b=; `cover` names the fields that it signs before itself, at their places in `block`. `sign`
    makes a signature of a SHA-256 digest.

    What is signed must lie in one block, so our own fields are put below what came: only their octets count. Where
    lines break counts for nothing in relaxed form, so the field is folded once, when it is complete.
    """
    bare = f"{name}: {' '.join(_words({**tags, 'b': ''}))}\r\n".encode("ascii", "replace")
    own = stand_in(block, bare)
    signed = SignedHeader(block + bare, header)
    digest = signed.digest(cover(signed, own), own, "relaxed")
    return fold(name, [_words({**tags, "b": base64.b64encode(sign(digest)).decode()})])


def stand_in(block: bytes, field: bytes) -> Field:
    """A field of ours as if it stood below `block`."""
    return Field("", "", b"", len(block), len(block) + len(field))


def _words(tags: dict[str, str]) -> list[str]:
    """Tags in alphabetical order. b= stays in one piece: the next seal signs it as it stands, and a mail system that
    breaks lines differently would break that. A long h= is in pieces that end in a colon, where white space may stand
    (RFC 6376 section 3.5)."""
    words: list[str] = []
    for tag in sorted(tags):
        pieces = tags[tag].split(":") if tag == "h" else [tags[tag]]
        piece = f"{tag}={pieces[0]}"
        for name in pieces[1:]:
            piece += ":"
            if len(piece) + len(name) > _LONGEST_WORD:
                words.append(piece)
                piece = ""
            piece += name
        words.append(f"{piece};")
    words[-1] = words[-1].removesuffix(";")
    return words
