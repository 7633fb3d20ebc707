"""Hops that seal, for tests: each a gateway of its own name with the real composition and a key made for the run."""

from __future__ import annotations

from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from gateway.authentication import arc, dkim
from gateway.authentication.body import BodyHasher, wanted_digests
from gateway.authentication.signing import DIGEST, Sealer
from gateway.mail.header import Field, parse_header, split_message
from gateway.model.dnsdata import Answer, DnsStatus, Question
from gateway.model.envelope import ip_text
from gateway.model.ingress import ClientSource, EdgeIngress
from gateway.model.message import Evidence
from gateway.model.result import (
    ArcResult,
    Authentication,
    DmarcPolicy,
    DmarcResult,
    DmarcVerdict,
    SpfIdentity,
    SpfResult,
    SpfVerdict,
)
from gateway.plan.sealing import compose_set
from tests.support.signing import NOW, key_record, rsa_key, window

CLIENT = ip_text("2001:db8::1a")
INGRESS = EdgeIngress(CLIENT, ClientSource.PEER, "out.src.example", "mx", peer=CLIENT)
HOPS = ("one.example", "two.example", "three.example")
AUTHOR = "src.example"


def rsa_operation(key: RSAPrivateKey) -> Callable[[bytes], bytes]:
    return lambda digest: key.sign(digest, PKCS1v15(), Prehashed(SHA256()))


def pem(key: RSAPrivateKey, password: bytes = b"") -> bytes:
    """The key in the form of a file."""
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def zone() -> dict[str, str]:
    """The TXT records of every hop and of the author."""
    names = [f"arc._domainkey.{hop}" for hop in HOPS] + [f"s._domainkey.{AUTHOR}"]
    return dict.fromkeys(names, key_record())


def known() -> dict[Question, Answer]:
    return {Question(name, "TXT"): Answer(DnsStatus.FOUND, (text,)) for name, text in zone().items()}


def read(message: bytes) -> tuple[Evidence, tuple[Field, ...]]:
    """The message as the collector of a sealing gateway reads it."""
    block, start = split_message(message)
    header = parse_header(block)
    hasher = BodyHasher(wanted_digests(header) | {DIGEST})
    hasher.update(message[start:])
    return Evidence(block, hasher.digests(), len(message)), header


def validate(message: bytes) -> ArcResult:
    return arc.validate(*read(message), window(known()), NOW)


def authenticate(message: bytes, dmarc: DmarcVerdict = DmarcVerdict.PASS) -> Authentication:
    """Results with real DKIM and ARC, the given DMARC result, and values that produce every comment."""
    signatures = dkim.verify(*read(message), window(known()), NOW)
    policy = DmarcResult(
        dmarc, AUTHOR, AUTHOR, AUTHOR, DmarcPolicy.REJECT, DmarcPolicy.REJECT, record="v=DMARC1; p=reject; sp=none"
    )
    spf = SpfResult(SpfVerdict.PASS, AUTHOR, SpfIdentity.MAILFROM)
    return Authentication(spf, spf, signatures, validate(message), policy)


def seal_at(hop: str, message: bytes, dmarc: DmarcVerdict = DmarcVerdict.PASS) -> bytes:
    """The message with one more set and a relay's other fields above, in the gateway's order."""
    evidence, header = read(message)
    sealer = Sealer(hop, "arc", rsa_operation(rsa_key()))
    results = authenticate(message, dmarc)
    fields = compose_set(sealer, f"mx.{hop}", evidence, header, results, INGRESS, NOW)
    trace = f"Authentication-Results: mx.{hop}; dmarc={dmarc}\r\n"
    trace += f"Received: from a by mx.{hop}; Mon, 2 Nov 2026 10:00:00 +0000\r\n"
    return b"".join(fields) + trace.encode() + message


def pass_on(message: bytes, hops: int) -> bytes:
    """The message after so many sealing hops."""
    for hop in HOPS[:hops]:
        message = seal_at(hop, message)
    return message
