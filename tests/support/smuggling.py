"""Sequences that some server takes for the end of data, and streams that try to smuggle a second message."""

from __future__ import annotations

import json

from tests.support.corpora import corpus

# Beyond the published ones.
OWN = [
    b"\r\n.\r\r\n\r\n",
    b"\r\n.\n\n",
    b"\n\r.\r\n",
    b"\n\r\n\r.\r\n",
    b"\r\n\r.\r\n",
    b"\r\r.\r\r",
    b"\r\n.\x85\r\n",
    b"\r\n.\xc2\xa0\r\n",
    b"\r\n\xef\xbb\xbf.\r\n",
    b"\r\n\x1a.\r\n",
    b"\r\n.\x1a\r\n",
    b"\r\n\x08.\r\n",
    b"\r\n.\x7f\r\n",
    b"\r\n..\r\n",
    b"\r\n...\r\n",
    b"\n..\r\n",
    b"\r\n.\r\x00\r\n",
    b"\x00\r\n.\x00\r\n",
    b"\r\n=2E\r\n",
    b"\r\n.=0D=0A",
    b"\x8d\x8a.\x8d\x8a",
    b"\xff\xfd\r\n.\xff\xf4\r\n",
    b"\n.\r\n.\n",
    b"\r\n.\n.\r",
]

HEADER = b"From: a@b.example\r\nSubject: x\r\n\r\n"


def sequences() -> list[tuple[bytes, bool]]:
    """Each sequence, and whether it truly ends the data."""
    found = json.loads(corpus("smtp/end-of-data-sequences.json").read_text())["sequences"]
    return [(case["eod"].encode(), case["must_end_data"]) for case in found] + [(eod, False) for eod in OWN]


def smuggled(rcpt: str) -> bytes:
    """The transaction hidden in the content."""
    return (
        b"MAIL FROM:<smuggled@b.example>\r\nRCPT TO:<%s>\r\nDATA\r\n" % rcpt.encode()
        + b"From: smuggled@b.example\r\nSubject: smuggled\r\n\r\nsmuggled\r\n.\r\n"
    )


def by_data(eod: bytes, rcpt: str, case: str) -> bytes:
    """Everything of one session in one stream: the message of `case`, with the attack inside."""
    return (
        f"EHLO c.example\r\nMAIL FROM:<{case}@b.example>\r\nRCPT TO:<{rcpt}>\r\nDATA\r\n".encode()
        + HEADER
        + b"body"
        + eod
        + smuggled(rcpt)
        + b"QUIT\r\n"
    )


def by_chunks(eod: bytes, rcpt: str, case: str, cut: int) -> bytes:
    """The same by BDAT, in two chunks whose edge is `cut` octets into the sequence."""
    content = HEADER + b"body" + eod + smuggled(rcpt)
    at = len(HEADER) + 4 + cut
    return (
        f"EHLO c.example\r\nMAIL FROM:<{case}@b.example>\r\nRCPT TO:<{rcpt}>\r\nBDAT {at}\r\n".encode()
        + content[:at]
        + b"BDAT %d LAST\r\n" % (len(content) - at)
        + content[at:]
        + b"QUIT\r\n"
    )
