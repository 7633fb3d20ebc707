"""The sample messages, and the signature on the first of them."""

from __future__ import annotations

import base64
import re

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

from gateway.authentication.body import BodyHasher
from gateway.demo.zone import SELECTOR, SIGNER
from gateway.mail.header import parse_header, split_message
from gateway.mail.received import format_date
from gateway.model.value import Value

_SIGNED = ("from", "to", "subject", "date", "message-id", "mime-version", "content-type")
_SPACES = re.compile(rb"[ \t]+")


class Sample(Value):
    """One message, and its expected result."""

    kind: str
    mail_from: str
    rcpts: tuple[str, ...]
    octets: bytes
    accepted: bool
    """Delivered octet for octet; else refused with a reply that names DMARC."""
    expected: str
    """The expected result in words."""


def make_samples(key: RSAPrivateKey, now: float, token: str) -> tuple[Sample, ...]:
    """All samples. `token` makes their Message-IDs unique to this run."""
    alice, bob = "alice@demo.example", "bob@demo.example"
    return (
        Sample(
            "signed",
            f"newsletter@{SIGNER}",
            (alice, bob),
            sign(_multipart(now, token), key, now),
            True,
            "delivered unchanged to Google (alice) and Microsoft (bob), with dkim=pass and dmarc=pass",
        ),
        Sample(
            "spoof",
            "bounce@other.example",
            (alice,),
            _spoof(now, token),
            False,
            "refused: microsoft.com publishes p=reject, and SPF passes only for other.example",
        ),
        Sample(
            "plain",
            "hello@plain.example",
            (bob,),
            _plain(now, token),
            True,
            "delivered unchanged to Microsoft (bob): plain.example publishes no policy",
        ),
    )


def _heading(author: str, to: str, subject: str, now: float, token: str) -> str:
    domain = author.rpartition("@")[2].rstrip(">")
    return (
        f"From: {author}\r\nTo: {to}\r\nSubject: {subject}\r\nDate: {format_date(now)}\r\n"
        f"Message-ID: <{token}@{domain}>\r\n"
    )


def _multipart(now: float, token: str) -> bytes:
    """Two adjacent boundary lines without a blank line between them: the case of incident 1."""
    attachment = "\r\n".join(
        base64.b64encode(bytes((line + at) % 256 for at in range(57))).decode() for line in range(24)
    )
    return (
        _heading(f"Sender <newsletter@{SIGNER}>", "alice@demo.example, bob@demo.example", "A signed sample", now, token)
        + 'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="outer"\r\n\r\n'
        "--outer\r\n"
        'Content-Type: multipart/alternative; boundary="inner"\r\n\r\n'
        "--inner\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        "Grüße: 8-bit text, a line that ends in spaces   \r\n.a line that starts with a dot\r\n\r\n"
        "--inner\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>Hello</p>\r\n"
        "--inner--\r\n--outer\r\n"
        'Content-Type: application/octet-stream; name="data.bin"\r\nContent-Transfer-Encoding: base64\r\n'
        'Content-Disposition: attachment; filename="data.bin"\r\n\r\n'
        f"{attachment}\r\n--outer--\r\n\r\n\r\n"
    ).encode()


def _spoof(now: float, token: str) -> bytes:
    author = "Microsoft Security <security@microsoft.com>"
    heading = _heading(author, "alice@demo.example", "Unusual sign-in activity", now, token)
    return (heading + "\r\nSomebody signed in. Click here.\r\n").encode()


def _plain(now: float, token: str) -> bytes:
    heading = _heading("hello@plain.example", "bob@demo.example", "A plain sample", now, token)
    return (heading + "\r\nNo signature, no MIME.\r\n").encode()


def sign(octets: bytes, key: RSAPrivateKey, now: float) -> bytes:
    """The message with a DKIM-Signature above, rsa-sha256 and relaxed/relaxed (RFC 6376 section 3)."""
    block, body_start = split_message(octets)
    hasher = BodyHasher([("relaxed", None)])
    hasher.update(octets[body_start:])
    body_hash = base64.b64encode(hasher.digests()[0].digest).decode()
    signature = (
        f" v=1; a=rsa-sha256; c=relaxed/relaxed; d={SIGNER}; s={SELECTOR};\r\n"
        f"\tt={int(now)}; h={':'.join(_SIGNED)};\r\n\tbh={body_hash};\r\n\tb="
    ).encode()
    header = parse_header(block)
    signed = [next(field for field in reversed(header) if field.lower == name) for name in _SIGNED]
    octets_signed = b"".join(_relax(field.lower, field.value) + b"\r\n" for field in signed)
    octets_signed += _relax("dkim-signature", signature)
    value = base64.b64encode(key.sign(octets_signed, PKCS1v15(), SHA256())).decode()
    lines = "\r\n\t ".join(value[at : at + 72] for at in range(0, len(value), 72))
    return b"DKIM-Signature:" + signature + lines.encode() + b"\r\n" + octets


def _relax(lower: str, value: bytes) -> bytes:
    """RFC 6376 section 3.4.2."""
    return lower.encode() + b":" + _SPACES.sub(b" ", value.replace(b"\r\n", b"")).strip(b" ")
