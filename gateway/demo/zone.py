"""The demo's DNS: every name that the samples need. No name is asked of the network."""

from __future__ import annotations

import base64
import json

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SIGNER = "sender.example"
SELECTOR = "demo"
_LOCAL = "v=spf1 ip4:127.0.0.0/8 ip6:::1 -all"


def make_zone(key: RSAPrivateKey) -> str:
    """The zone file as JSON, with the public half of the signing key in it."""
    public = base64.b64encode(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
    zone = {
        "demo.example": {"MX": ["10 mx.demo.example"], "TXT": ["v=spf1 mx -all"]},
        "mx.demo.example": {"A": ["127.0.0.1"]},
        "_dmarc.demo.example": {"TXT": ["v=DMARC1; p=reject"]},
        # The author of the signed sample: SPF and DKIM vouch for it, and it asks to reject everything else.
        SIGNER: {"MX": ["10 mail.sender.example"], "TXT": [_LOCAL]},
        "mail.sender.example": {"A": ["127.0.0.1"]},
        f"{SELECTOR}._domainkey.{SIGNER}": {"TXT": [f"v=DKIM1; k=rsa; p={public}"]},
        f"_dmarc.{SIGNER}": {"TXT": ["v=DMARC1; p=reject"]},
        # The claimed author of the spoof, as published on 21 November 2026, and its actual origin.
        "microsoft.com": {"TXT": ["v=spf1 ip4:192.0.2.0/24 -all"]},
        "_dmarc.microsoft.com": {"TXT": ["v=DMARC1; p=reject; pct=100; fo=1"]},
        "other.example": {"MX": ["10 mail.other.example"], "TXT": [_LOCAL]},
        "mail.other.example": {"A": ["127.0.0.1"]},
        # A sender with SPF only.
        "plain.example": {"MX": ["10 mail.plain.example"], "TXT": [_LOCAL]},
        "mail.plain.example": {"A": ["127.0.0.1"]},
    }
    return json.dumps(zone, indent=1) + "\n"
