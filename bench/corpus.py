"""Messages to send and the DNS of their senders, the same on every machine except for the key.

Twenty sender domains, rsa-2048 relaxed/relaxed signatures, SPF by one include, DMARC p=reject with strict alignment.
Files hold the wire form: CRLF, dot-stuffed.
"""

from __future__ import annotations

import base64
import random
import re
import textwrap
from pathlib import Path

import dkim
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

SIZES = {"4k": (4096, 40), "50k": (50_000, 20), "1m": (1_000_000, 5)}
"""Name -> octets, different messages."""
DOMAINS = 20
SIGNED = [b"From", b"To", b"Subject", b"Date", b"Message-ID", b"MIME-Version", b"Content-Type"]
WORDS = ("relay", "gateway", "queue", "durable", "header", "signature", "policy", "verify", "aligned", "backend")


def make_corpus(directory: Path) -> None:
    """Write messages and `zones.conf` unless they are there."""
    if (directory / "zones.conf").exists():
        return
    directory.mkdir(parents=True, exist_ok=True)
    key = rsa.generate_private_key(65537, 2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    for name, (size, count) in SIZES.items():
        (directory / name).mkdir(exist_ok=True)
        for number in range(count):
            (directory / name / f"{number:03d}.eml").write_bytes(make_message(name, number, size, private))
    another = rsa.generate_private_key(65537, 2048)
    (directory / "arc.pem").write_bytes(
        another.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    (directory / "zones.conf").write_text(make_zones(base64.b64encode(public).decode()))


def make_message(name: str, number: int, size: int, private: bytes) -> bytes:
    """One signed multipart message of about `size` octets."""
    chance = random.Random(f"{name}/{number}")
    domain = f"s{number % DOMAINS:02d}.example.com"
    header = [
        f"From: Bench Sender <bench@{domain}>",
        f"To: Someone <u{number % 100}.0@rcpt.example.net>",
        f"Subject: bench {name} number {number} with a subject line of ordinary length",
        f"Date: Sat, 21 Nov 2026 12:{number // 60:02d}:{number % 60:02d} +0000",
        f"Message-ID: <{name}.{number}.bench@{domain}>",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/mixed; boundary="=_b{number}"',
        f"List-Unsubscribe: <mailto:unsub@{domain}>",
        "X-Mailer-Notes: folded header,\r\n\twith a continuation line;\r\n and another one",
    ]
    text = "\r\n".join(textwrap.wrap(" ".join(chance.choice(WORDS) for _ in range(150)), 72))
    parts = [
        f"--=_b{number}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n"
        ".a line that begins with a dot  and trailing spaces  \r\n",
        f"--=_b{number}\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n",
    ]
    room = max(0, size - sum(map(len, parts)) - sum(map(len, header)) - 900)
    blob = base64.b64encode(chance.randbytes(room * 3 // 4 * 76 // 78)).decode()
    lines = "\r\n".join(blob[start : start + 76] for start in range(0, len(blob), 76))
    message = ("\r\n".join(header) + "\r\n\r\n" + "\r\n".join(parts) + lines + f"\r\n--=_b{number}--\r\n").encode()
    signature = dkim.sign(
        message,
        b"sel",
        domain.encode(),
        private,
        canonicalize=(b"relaxed", b"relaxed"),
        include_headers=SIGNED,
    )
    return re.sub(rb"(?m)^\.", b"..", signature + message)


def make_zones(public: str) -> str:
    """unbound's local data for every sender."""

    def text(value: str) -> str:
        return "TXT " + " ".join(f'"{value[start : start + 250]}"' for start in range(0, len(value), 250))

    soa = "SOA ns.example.com. h.example.com. 1 3600 600 86400 300"
    records = [
        f"example.com. 3600 IN {soa}",
        f"example.net. 3600 IN {soa}",
        f"_spf.example.com. 3600 IN {text('v=spf1 ip4:198.51.100.0/24 ip4:198.18.0.0/24 ~all')}",
        f"_dmarc.example.com. 3600 IN {text('v=DMARC1; p=reject')}",
        "rcpt.example.net. 3600 IN MX 10 backend.example.net.",
        "backend.example.net. 3600 IN A 127.0.0.1",
    ]
    for number in range(DOMAINS):
        domain = f"s{number:02d}.example.com"
        records += [
            f"{domain}. 3600 IN {text('v=spf1 include:_spf.example.com -all')}",
            f"{domain}. 3600 IN MX 10 mail.{domain}.",
            f"mail.{domain}. 3600 IN A 198.18.0.{10 + number}",
            f"mail.{domain}. 3600 IN {text('v=spf1 ip4:198.18.0.0/24 -all')}",
            f"_dmarc.{domain}. 3600 IN {text('v=DMARC1; p=reject; adkim=s; aspf=s')}",
            f"sel._domainkey.{domain}. 3600 IN {text(f'v=DKIM1; k=rsa; p={public}')}",
            f"{10 + number}.0.18.198.in-addr.arpa. 3600 IN PTR mail.{domain}.",
        ]
    zones = ("example.com.", "example.net.", "0.18.198.in-addr.arpa.", ".")
    lines = ["server:", *(f'  local-zone: "{zone}" static' for zone in zones)]
    return "\n".join([*lines, *(f"  local-data: '{record}'" for record in records)]) + "\n"
