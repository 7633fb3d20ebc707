"""The inputs for measuring the checks: a signed message, large bodies, the DNS of a usual and of a very large sender.

Out: octets, TXT records, and milliseconds of CPU. Made anew in each run; only the key differs.
"""

from __future__ import annotations

import base64
import random
import textwrap
import time
from collections.abc import Callable

import dkim
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

BATCHES, REPEATS = 5, 40
NOW = 1_790_000_000.0
CLIENT = "203.0.113.77"
DOMAIN = "src.example"
PROVIDERS = {"google1": 11, "google2": 6, "google3": 11, "outlook": 10, "crm": 4}
"""Networks in each included record: a domain at two large providers, and a third that sends for it."""
LARGE = {f"p{number}": 45 for number in range(8)}
"""As large as records get."""
ALL, SPF, SPF_LARGE = (
    "SPF + DKIM + DMARC, 10 kB",
    "of it SPF, 5 includes of 42 networks",
    "SPF, 8 includes of 360 networks",
)
BASE64, PROSE = "hash 10 MB of base64", "hash 10 MB of prose"
Costs = dict[str, float]
Zone = dict[str, list[str]]


def make_zone(key: str) -> Zone:
    """TXT records: of the includes, the last names the client."""
    zone = {
        DOMAIN: [f"v=spf1 {' '.join(f'include:_spf.{name}.example' for name in PROVIDERS)} -all"],
        f"large.{DOMAIN}": [f"v=spf1 {' '.join(f'include:_spf.{name}.example' for name in LARGE)} -all"],
        f"_dmarc.{DOMAIN}": ["v=DMARC1; p=reject; rua=mailto:dmarc@src.example"],
        f"s._domainkey.{DOMAIN}": [f"v=DKIM1; k=rsa; p={key}"],
    }
    for at, (name, count) in enumerate((PROVIDERS | LARGE).items()):
        networks = " ".join(f"ip4:198.{18 + at}.{number}.0/24" for number in range(count))
        last = " ip4:203.0.113.64/26" if name in ("crm", "p7") else ""
        zone[f"_spf.{name}.example"] = [f"v=spf1 {networks}{last} ~all"]
    return zone


def make_prose(size: int) -> bytes:
    chance = random.Random(size)
    words = (
        "relay",
        "gateway",
        "queue",
        "durable",
        "header",
        "of",
        "to",
        "and",
        "the",
        "signature",
        "policy.",
        "end. ",
    )
    text = " ".join(chance.choice(words) for _ in range(20_000))
    lines = "\r\n".join(textwrap.wrap(text, 72)) + "\r\n"
    # The cut may fall into a line break, and a bare CR is refused.
    return (lines.encode() * (size // len(lines) + 1))[: size - 2].rstrip(b"\r") + b"\r\n"


def make_base64(size: int) -> bytes:
    octets = base64.encodebytes(random.Random(size).randbytes(57 * 1000)).replace(b"\n", b"\r\n")
    return (octets * (size // len(octets) + 1))[: size - 2] + b"\r\n"


def make_message() -> tuple[bytes, Zone]:
    """A message of 10 kB with one rsa-2048 signature, relaxed/relaxed, and its DNS."""
    key = rsa.generate_private_key(65537, 2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    header = (
        b"Received: from a.src.example (a.src.example [192.0.2.9])\r\n\tby b.src.example (Postfix) with SMTP id 4X;\r\n"
        b"\tSat, 21 Nov 2026 12:00:00 +0000\r\nFrom: Ann <ann@src.example>\r\nTo: bob@dst.example\r\nSubject: cost\r\n"
        b"Date: Sat, 21 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@src.example>\r\nMIME-Version: 1.0\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\nX-Mailer: some mailer, with a line\r\n folded in the usual way\r\n"
    )
    message = header + b"\r\n" + make_prose(10_000 - len(header))
    names = [b"from", b"to", b"subject", b"date", b"message-id", b"mime-version", b"content-type"]
    relaxed = (b"relaxed", b"relaxed")
    signature = dkim.sign(message, b"s", DOMAIN.encode(), private, canonicalize=relaxed, include_headers=names)
    return bytes(signature) + message, make_zone(base64.b64encode(public).decode())


def cost(action: Callable[[], object], repeats: int) -> float:
    """Milliseconds of CPU for one, the least of some batches."""
    best = float("inf")
    for _ in range(BATCHES):
        began = time.process_time()
        for _ in range(repeats):
            action()
        best = min(best, (time.process_time() - began) / repeats)
    return best * 1000
