"""Messages to send and the DNS of their senders, the same on every machine except for the keys.

Twenty sender domains whose answers peers keep, rsa-2048 relaxed/relaxed signatures, SPF by one include, DMARC p=reject
with strict alignment: messages with an attachment in three sizes, 10 MB of prose, and text of mixed sizes. Beside them
any number of strangers: domains with one message each and a key, an include and a policy of their own. Files hold the
wire form: CRLF, dot-stuffed.
"""

from __future__ import annotations

import base64
import datetime
import math
import random
import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import dkim
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from bench.checks import make_prose

SIZES = {"4k": (4096, 40), "50k": (50_000, 20), "1m": (1_000_000, 5)}
"""Name -> octets, different messages."""
DOMAINS = 20
SIGNED = [b"From", b"To", b"Subject", b"Date", b"Message-ID", b"MIME-Version", b"Content-Type"]
WORDS = ("relay", "gateway", "queue", "durable", "header", "signature", "policy", "verify", "aligned", "backend")


STRANGERS = 8000
"""Domains with one message each, unless the command line says another number."""
TEXTS, TEXT_OCTETS = 3, 10_000_000
MIXED, MIXED_OCTETS = 200, 57_000
"""Number of messages, and their mean size."""
_SPREAD = 1.2
"""Of the logarithm of the mixed sizes."""
_ZIPF_DRAWS = 20_000
_ORDINARY = 65537
"""The public exponent of nearly all RSA keys."""


class Signer:
    """Signs as dkimpy does, with RSA by OpenSSL: pure Python would need minutes for the strangers."""

    def __init__(self) -> None:
        key = rsa.generate_private_key(_ORDINARY, 2048)
        self._numbers = key.private_numbers()
        self._any = _pem(key)

    def keys(self) -> Iterator[rsa.RSAPrivateKey]:
        """Keys without end that differ in their exponents: as good as others to who verifies, and made at once."""
        p, q = self._numbers.p, self._numbers.q
        totient = (p - 1) * (q - 1)
        for exponent in range(_ORDINARY, 1 << 31, 2):
            if math.gcd(exponent, totient) != 1:
                continue
            d = pow(exponent, -1, totient)
            public = rsa.RSAPublicNumbers(exponent, p * q)
            numbers = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), self._numbers.iqmp, public)
            yield numbers.private_key(unsafe_skip_rsa_key_validation=True)

    def sign(self, message: bytes, domain: str, key: rsa.RSAPrivateKey) -> bytes:
        """The message with its signature, dot-stuffed."""
        scheme, digest = padding.PKCS1v15(), Prehashed(hashes.SHA256())
        usual = dkim.RSASSA_PKCS1_v1_5_sign
        dkim.RSASSA_PKCS1_v1_5_sign = lambda hashed, _: key.sign(hashed.digest(), scheme, digest)
        try:
            signature = dkim.sign(
                message,
                b"sel",
                domain.encode(),
                self._any,
                canonicalize=(b"relaxed", b"relaxed"),
                include_headers=SIGNED,
            )
        finally:
            dkim.RSASSA_PKCS1_v1_5_sign = usual
        return re.sub(rb"(?m)^\.", b"..", bytes(signature) + message)


def make_corpus(directory: Path) -> None:
    """Write the messages of the kept domains, keys, and `zones.conf` unless they are there."""
    if (directory / "tls.pem").exists():
        return
    directory.mkdir(parents=True, exist_ok=True)
    signer = Signer()
    key = next(signer.keys())
    for name, (size, count) in SIZES.items():
        _write(directory / name, (make_message(name, number, size, signer, key) for number in range(count)))
    prose = make_prose(TEXT_OCTETS)
    _write(directory / "text", (make_text(number, prose, signer, key) for number in range(TEXTS)))
    sizes = mixed_sizes()
    _write(directory / "mixed", (make_mixed(number, size, signer, key) for number, size in enumerate(sizes)))
    (directory / "zones.conf").write_text(make_zones(public_text(key)))
    (directory / "arc.pem").write_bytes(_pem(rsa.generate_private_key(_ORDINARY, 2048)))
    (directory / "tls.pem").write_bytes(make_certificate())


def make_strangers(directory: Path, count: int) -> Path:
    """A directory with a message of 4 kB for each of `count` domains in `cold`, lists of paths in sending order, and
    `zones.conf`; made once."""
    made = directory / f"strangers-{count}"
    if (made / "zones.conf").exists():
        return made
    signer = Signer()
    keys = [key for key, _ in zip(signer.keys(), range(count), strict=False)]
    domains = [f"c{number:06d}.example" for number in range(count)]
    size = SIZES["4k"][0]
    pairs = list(zip(domains, keys, strict=True))
    paths = _write(
        made / "cold",
        (make_message("cold", at, size, signer, key, domain) for at, (domain, key) in enumerate(pairs)),
    )
    (made / "cold.list").write_text("".join(f"{path}\n" for path in paths))
    (made / "zipf.list").write_text("".join(f"{path}\n" for path in draw_zipf(paths, _ZIPF_DRAWS)))
    (made / "zones.conf").write_text(make_stranger_zones(pairs))
    return made


def draw_zipf(paths: Sequence[Path], count: int) -> list[Path]:
    """Draws whose probability falls with the rank: 1/rank."""
    chance = random.Random("zipf")
    return chance.choices(paths, [1 / rank for rank in range(1, len(paths) + 1)], k=count)


def mixed_sizes() -> list[int]:
    """Sizes as mail has them: most are small, a few are large; their mean is MIXED_OCTETS."""
    chance = random.Random("mixed")
    drawn = [math.exp(chance.gauss(0, _SPREAD)) for _ in range(MIXED)]
    scale = MIXED_OCTETS * MIXED / sum(drawn)
    return [max(1500, int(size * scale)) for size in drawn]


def _write(directory: Path, messages: Iterator[bytes]) -> list[Path]:
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, message in enumerate(messages):
        paths.append(directory / f"{number:06d}.eml")
        paths[-1].write_bytes(message)
    return paths


def _pem(key: rsa.RSAPrivateKey) -> bytes:
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def public_text(key: rsa.RSAPrivateKey) -> str:
    """p= of its DKIM record."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return base64.b64encode(key.public_key().public_bytes(serialization.Encoding.DER, form)).decode()


def make_certificate() -> bytes:
    """A self-signed certificate with its key, for STARTTLS."""
    key = rsa.generate_private_key(_ORDINARY, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gw.example.net")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(datetime.datetime(2026, 1, 1)).not_valid_after(datetime.datetime(2046, 1, 1))
    alternative = x509.SubjectAlternativeName([x509.DNSName("gw.example.net")])
    signed = builder.add_extension(alternative, critical=False).sign(key, hashes.SHA256())
    return _pem(key) + signed.public_bytes(serialization.Encoding.PEM)


def make_header(name: str, number: int, domain: str, content_type: str) -> str:
    """The fields of a message, without the empty line."""
    header = [
        f"From: Bench Sender <bench@{domain}>",
        f"To: Someone <u{number % 100}.0@rcpt.example.net>",
        f"Subject: bench {name} number {number} with a subject line of ordinary length",
        f"Date: Sat, 21 Nov 2026 12:{number // 60 % 60:02d}:{number % 60:02d} +0000",
        f"Message-ID: <{name}.{number}.bench@{domain}>",
        "MIME-Version: 1.0",
        f"Content-Type: {content_type}",
        f"List-Unsubscribe: <mailto:unsub@{domain}>",
        "X-Mailer-Notes: folded header,\r\n\twith a continuation line;\r\n and another one",
    ]
    return "\r\n".join(header) + "\r\n"


def kept_domain(number: int) -> str:
    return f"s{number % DOMAINS:02d}.example.com"


def make_message(
    name: str, number: int, size: int, signer: Signer, key: rsa.RSAPrivateKey, domain: str | None = None
) -> bytes:
    """One signed multipart message of about `size` octets, with an attachment."""
    chance = random.Random(f"{name}/{number}")
    domain = domain or kept_domain(number)
    header = make_header(name, number, domain, f'multipart/mixed; boundary="=_b{number}"')
    text = "\r\n".join(textwrap.wrap(" ".join(chance.choice(WORDS) for _ in range(150)), 72))
    parts = [
        f"--=_b{number}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n"
        ".a line that begins with a dot  and trailing spaces  \r\n",
        f"--=_b{number}\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n",
    ]
    room = max(0, size - sum(map(len, parts)) - len(header) - 900)
    blob = base64.b64encode(chance.randbytes(room * 3 // 4 * 76 // 78)).decode()
    lines = "\r\n".join(blob[start : start + 76] for start in range(0, len(blob), 76))
    message = (header + "\r\n" + "\r\n".join(parts) + lines + f"\r\n--=_b{number}--\r\n").encode()
    return signer.sign(message, domain, key)


def make_text(number: int, prose: bytes, signer: Signer, key: rsa.RSAPrivateKey) -> bytes:
    """A message that is nothing but prose."""
    domain = kept_domain(number)
    header = make_header("text", number, domain, "text/plain; charset=utf-8")
    return signer.sign(header.encode() + b"\r\n" + prose, domain, key)


def make_mixed(number: int, size: int, signer: Signer, key: rsa.RSAPrivateKey) -> bytes:
    """Text and the same as indented HTML."""
    domain = kept_domain(number)
    header = make_header("mixed", number, domain, f'multipart/alternative; boundary="=_m{number}"')
    text = make_prose(max(200, size // 3)).decode()
    shown = "".join(f"      <p>\r\n\t{line}\r\n      </p>\r\n" for line in text.splitlines())
    parts = [("plain", text), ("html", f"<html>\r\n  <body>\r\n{shown}  </body>\r\n</html>\r\n")]
    body = "".join(f"--=_m{number}\r\nContent-Type: text/{kind}; charset=utf-8\r\n\r\n{part}" for kind, part in parts)
    return signer.sign(f"{header}\r\n{body}--=_m{number}--\r\n".encode(), domain, key)


def make_stranger_zones(pairs: Sequence[tuple[str, rsa.RSAPrivateKey]]) -> str:
    """unbound's local data for the strangers."""
    records = ["example. 3600 IN SOA ns.example. h.example. 1 3600 600 86400 300"]
    for domain, key in pairs:
        records += [
            f"{domain}. 3600 IN {text_record(f'v=spf1 include:_spf.{domain} include:_spf.example.com -all')}",
            f"_spf.{domain}. 3600 IN {text_record('v=spf1 ip4:203.0.113.0/24 ~all')}",
            f"{domain}. 3600 IN MX 10 mail.{domain}.",
            f"mail.{domain}. 3600 IN A 198.18.0.10",
            f"_dmarc.{domain}. 3600 IN {text_record('v=DMARC1; p=reject; adkim=s; aspf=s')}",
            f"sel._domainkey.{domain}. 3600 IN {text_record(f'v=DKIM1; k=rsa; p={public_text(key)}')}",
        ]
    return "\n".join(['  local-zone: "example." static', *(f"  local-data: '{record}'" for record in records)]) + "\n"


def text_record(value: str) -> str:
    return "TXT " + " ".join(f'"{value[start : start + 250]}"' for start in range(0, len(value), 250))


def make_zones(public: str) -> str:
    """unbound's local data for every sender."""
    text = text_record
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
