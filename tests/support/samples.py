"""Messages for tests: signed with stock dkimpy, so that our own verifier never vouches for itself."""

from __future__ import annotations

import base64
import functools

import dkim
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


@functools.cache
def signing_key() -> tuple[bytes, str]:
    """(PEM private key, TXT record) of a fresh RSA-2048 key."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return pem, "v=DKIM1; k=rsa; p=" + base64.b64encode(public).decode()


def sign(octets: bytes, domain: str, selector: str = "sel1", fields: list[bytes] | None = None) -> bytes:
    """The message with a DKIM-Signature on top."""
    pem, _ = signing_key()
    names = fields or [b"from", b"to", b"subject", b"date", b"message-id", b"mime-version", b"content-type"]
    signature = dkim.sign(
        octets,
        selector.encode(),
        domain.encode(),
        pem,
        canonicalize=(b"relaxed", b"relaxed"),
        include_headers=names,
    )
    return bytes(signature) + octets


def plain(author: str, to: str = "alice@corp.example", subject: str = "Plain") -> bytes:
    """A short unsigned message."""
    return (
        f"From: <{author}>\r\nTo: <{to}>\r\nSubject: {subject}\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\n"
        f"Message-ID: <{abs(hash((author, to, subject)))}@sender.example>\r\n\r\nHello.\r\n.dot\r\n..dots\r\n"
    ).encode()


def nested_multipart(author: str, to: str = "alice@corp.example") -> bytes:
    """multipart/mixed around a multipart/alternative with its close-delimiter directly before the outer delimiter
    (incident 1), with trailing white space, a long line, dots and 8-bit text."""
    return (
        f"From: Sender <{author}>\r\nTo: <{to}>\r\nSubject: =?utf-8?q?Angebot_f=C3=BCr_Sie?=\r\n"
        "Date: Sat, 21 Nov 2026 12:00:00 +0000\r\nMessage-ID: <nested.1@sender.example>\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/mixed; boundary="outer"\r\n\r\nPreamble\r\n--outer\r\n'
        'Content-Type: multipart/alternative; boundary="inner"\r\n\r\n--inner\r\n'
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        "Grüße,  mit   Leerzeichen   \r\n.\x20\r\n..punkt\r\n.\tpunkt\r\n" + "x" * 3000 + "\r\n--inner\r\n"
        "Content-Type: text/html\r\n\r\n<p>Hi</p>\r\n--inner--\r\n--outer\r\n"
        'Content-Type: application/octet-stream; name="a.bin"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
        + "\r\n".join(base64.b64encode(bytes(range(57))).decode() for _ in range(40))
        + "\r\n--outer--\r\n\r\n\r\n"
    ).encode()


def break_between_boundaries(octets: bytes) -> bytes:
    """Exchange Online's change: a blank line between two adjacent boundary lines (incident 1)."""
    changed = octets.replace(b"--inner--\r\n--outer", b"--inner--\r\n\r\n--outer")
    assert changed != octets
    return changed
