"""Messages and SPF checks made at random, the same ones for the same seed."""

from __future__ import annotations

import base64
import functools
import random
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from tests.support.signing import NOW, Signer, ed25519_key, key_record, p_tag, rsa_key

Case = dict[str, Any]

NAMES = [f"n{number}.example" for number in range(8)]
ADDRESSES = ["192.0.2.1", "192.0.2.129", "198.51.100.7", "2001:db8::1", "2001:db8:1::7"]
MACROS = [
    "%{i}",
    "%{d}",
    "%{s}",
    "%{l}",
    "%{h}",
    "%{dr}",
    "%{d2}",
    "%{ir}.%{v}",
    "%{o1}",
    "%{l1r-}",
    "%{I}",
    "%%",
    "%{x}",
]


def make_sender_check(seed: int) -> Case:
    """One SPF check over eight names that lead to each other."""
    dice = random.Random(seed)
    zone: dict[str, Any] = {}
    for name in NAMES:
        entry: dict[str, Any] = {"TXT": [_record(dice) for _ in range(dice.choices([0, 1, 2], [1, 20, 1])[0])]}
        for kind, family in (("A", ADDRESSES[:3]), ("AAAA", ADDRESSES[3:])):
            entry[kind] = dice.sample(family, dice.randrange(len(family)))
        entry["MX"] = [f"{number * 10} {host}" for number, host in enumerate(dice.sample(NAMES, dice.randrange(3)))]
        zone[name] = dice.choices([entry, "SERVFAIL", "TIMEOUT"], [40, 1, 1])[0]
    if dice.random() < 0.3:
        zone["1.2.0.192.in-addr.arpa"] = {"PTR": dice.sample(NAMES, 2)}
    return {
        "id": f"spf-{seed}",
        "ip": dice.choice(ADDRESSES),
        "helo": dice.choice(NAMES),
        "sender": f"{dice.choice(['ann', 'a.b-c', 'x+y', 'A'])}@{dice.choice(NAMES)}",
        "dns": zone,
    }


def _record(dice: random.Random) -> str:
    terms = [_term(dice) for _ in range(dice.randrange(5))]
    terms.append(dice.choice(["-all", "~all", "?all", "+all", "all", f"redirect={dice.choice(NAMES)}", "", "-ALL"]))
    version = dice.choices(["v=spf1", "V=SPF1", "v=spf10", "v=spf2"], [40, 2, 1, 1])[0]
    return dice.choices([" ", "  "], [20, 1])[0].join(part for part in (version, *terms) if part)


def _term(dice: random.Random) -> str:
    name, macro = dice.choice(NAMES), dice.choice(MACROS)
    length = dice.choice(["", "", "/24", "/32", "//64", "/24//64", "/0", "/33", "/08", "//129"])
    term = dice.choices(
        [
            f"ip4:{dice.choice(ADDRESSES[:3])}{length.partition('//')[0]}",
            f"ip6:{dice.choice(ADDRESSES[3:])}{length.replace('//', '/') if length.startswith('//') else ''}",
            f"a:{name}{length}",
            f"a{length}",
            f"mx:{name}{length}",
            f"mx{length}",
            f"include:{name}",
            f"exists:{macro}.{name}",
            f"include:{macro}{name[2:]}",
            "ptr",
            f"ptr:{name}",
            f"exp={name}",
            dice.choice(["x=y", "foo", "ip4:1.2.3", "a:", "include", "all:x", "mx=1", "ip6:::g", "a:b", "redirect="]),
        ],
        [12, 6, 10, 6, 6, 4, 10, 6, 3, 2, 2, 2, 1],
    )[0]
    return dice.choices(["", "-", "~", "?", "+"], [10, 2, 2, 1, 1])[0] + term


@functools.cache
def other_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


def make_message(seed: int) -> Case:
    """One message with a signature or two, and often a change to it or to the key afterwards. `oddities` names the
    change, to explain a difference."""
    dice = random.Random(seed)
    oddities: list[str] = []
    body = _body(dice)
    if not body.endswith(b"\r\n"):
        oddities.append("unfinished")
    message = b"".join(_fields(dice)) + b"\r\n" + body
    key: RSAPrivateKey | Ed25519PrivateKey = dice.choices([rsa_key(1024), rsa_key(2048), ed25519_key()], [6, 2, 2])[0]
    if isinstance(key, Ed25519PrivateKey):
        oddities.append("ed25519")
    for _ in range(dice.choices([1, 2], [9, 1])[0]):
        message = _sign(dice, message, key, oddities) + message
    change = dice.choice([None, None, *CHANGES])
    if change is not None:
        message = change(dice, message)
        oddities.append(change.__name__.strip("_"))
    header = message.partition(b"\r\n\r\n")[0]
    if set(header) & {*range(9), 11, 12, *range(14, 32)}:
        oddities.append("control")
    if b"\r" in message.replace(b"\r\n", b"") or b"\n" in message.replace(b"\r\n", b""):
        oddities.append("bare newline")
    record = dice.choices([_plain_record, *RECORDS], [20, *[1] * len(RECORDS)])[0]
    if record is not _plain_record:
        oddities.append(record.__name__.strip("_"))
    zone = {"s._domainkey.src.example": record(dice, key)}
    return {"id": f"dkim-{seed}", "message": message, "dns": zone, "now": NOW, "oddities": oddities}


def _fields(dice: random.Random) -> list[bytes]:
    values = [
        b" plain", b"", b" ", b"tight", b" two  blanks ", b"\ttab", b" folded\r\n here", b" folded\r\n\t\r\n twice",
        b" colon: inside", b" =?utf-8?q?=C3=A9?=", b" 8\xc3\xa9bit", b" x" * 60, b" trailing \t ",
    ]  # fmt: skip
    found = [b"From: Ann <ann@src.example>\r\n", b"To:" + dice.choice(values) + b"\r\n"]
    names = [b"Subject", b"Date", b"X-One", b"x-one", b"Received", b"received", b"MIME-Version"]
    found += [name + b":" + dice.choice(values) + b"\r\n" for name in dice.sample(names, 5)]
    dice.shuffle(found)
    return found


def _body(dice: random.Random) -> bytes:
    lines = [b"", b" ", b"\t", b"text", b"two  blanks", b" leading", b"trailing \t ", b".dot", b"\xc3\xa9", b"x" * 900]
    ends = [b"\r\n", b"\r\n\r\n", b" \r\n\r\n", b"\r\n \r\n", b""]
    return b"\r\n".join(dice.choices(lines, k=dice.randrange(12))) + dice.choices(ends, [8, 5, 5, 5, 1])[0]


def _sign(dice: random.Random, message: bytes, key: RSAPrivateKey | Ed25519PrivateKey, oddities: list[str]) -> bytes:
    names = [
        "from",
        *dice.choices(["to", "subject", "Date", "x-one", "received", "absent", "FROM"], k=dice.randrange(8)),
    ]
    tags: dict[str, str | None] = {
        "a": "rsa-sha256" if isinstance(key, RSAPrivateKey) else "ed25519-sha256",
        "c": dice.choice(["relaxed/relaxed", "simple/simple", "relaxed/simple", "simple/relaxed", "relaxed", None]),
        "h": dice.choice([":", " : ", ":\r\n\t"]).join(names),
    }
    for chance, name, value in (
        (0.1, "t", str(int(NOW) - 100)),
        (0.05, "t", str(int(NOW) - 10**7)),
        (0.1, "x", str(int(NOW) + 10**6)),
        (0.03, "x", str(int(NOW) - 10**6)),
        (0.1, "i", "@src.example"),
        (0.05, "i", "ann@sub.src.example"),
        (0.02, "i", "@other.example"),
        (0.02, "i", "a=40b@src.example"),
        (0.05, "l", str(dice.randrange(40))),
        (0.05, "q", "dns/txt"),
        (0.05, "z", "From:ann=40src.example"),
        (0.01, "a", "rsa-sha1" if isinstance(key, RSAPrivateKey) else "ed25519-sha1"),
        (0.01, "v", "2"),
        (0.01, "h", "to:subject"),
        (0.01, "d", None),
    ):  # fmt: skip
        if dice.random() < chance:
            tags[name] = value
            oddities.append(f"{name}={value}")
    if "x" in tags and "t" in tags and int(str(tags["x"])) <= int(str(tags["t"])):
        oddities.append("x before t")
    signer = Signer(
        tuple(tags.items()), key, dice.choice(["DKIM-Signature", "dkim-signature"]), dice.choice([" ", "\r\n\t", ""])
    )
    return signer.sign(message)


def _alter_body(dice: random.Random, message: bytes) -> bytes:
    return message + dice.choice([b"x", b" ", b"\r\n", b"\r\n\r\n", b"Added line.\r\n"])


def _blank_in_body(dice: random.Random, message: bytes) -> bytes:
    return message.replace(b"text", dice.choice([b"text ", b" text", b"te xt"]))


def _refold(dice: random.Random, message: bytes) -> bytes:
    return message.replace(b": ", dice.choice([b":  ", b":\r\n ", b":\t"]), 3)


def _recase(dice: random.Random, message: bytes) -> bytes:
    return message.replace(b"To:", b"TO:").replace(b"Subject:", b"subject:")


def _add_field(dice: random.Random, message: bytes) -> bytes:
    name = dice.choice([b"Received: new", b"To: new", b"From: <bob@src.example>", b"X-New: new", b"Subject: new"])
    return name + b"\r\n" + message


def _swap_bits(dice: random.Random, message: bytes) -> bytes:
    at = dice.randrange(len(message))
    return message[:at] + bytes([message[at] ^ 1 << dice.randrange(5)]) + message[at + 1 :]


def _blank_before_colon(dice: random.Random, message: bytes) -> bytes:
    return message.replace(b"To:", b"To :")


def _cut(dice: random.Random, message: bytes) -> bytes:
    return message[: dice.randrange(len(message))]


def _bare_newline(dice: random.Random, message: bytes) -> bytes:
    at = dice.randrange(len(message))
    return message[:at] + dice.choice([b"\n", b"\r"]) + message[at:]


CHANGES: list[Callable[[random.Random, bytes], bytes]] = [
    _alter_body, _blank_in_body, _refold, _recase, _add_field, _swap_bits, _blank_before_colon, _cut, _bare_newline,
]  # fmt: skip


def _plain_record(dice: random.Random, key: RSAPrivateKey | Ed25519PrivateKey) -> Any:
    return {"TXT": [key_record(key, dice.choice(["", "", "t=y;", "n=note;", "h=sha256;", "s=email;"]))]}


def _strict_record(dice: random.Random, key: RSAPrivateKey | Ed25519PrivateKey) -> Any:
    return {"TXT": [key_record(key, "t=s;")]}


def _sha1_record(dice: random.Random, key: RSAPrivateKey | Ed25519PrivateKey) -> Any:
    return {"TXT": [key_record(key, "h=sha1;")]}


def _service_record(dice: random.Random, key: RSAPrivateKey | Ed25519PrivateKey) -> Any:
    return {"TXT": [key_record(key, "s=other;")]}


def _wrong_key(dice: random.Random, key: RSAPrivateKey | Ed25519PrivateKey) -> Any:
    other = rsa_key(1536) if isinstance(key, RSAPrivateKey) else other_key()
    return {"TXT": [key_record(other)]}


def _other_type(dice: random.Random, key: RSAPrivateKey | Ed25519PrivateKey) -> Any:
    return {"TXT": [key_record(ed25519_key() if isinstance(key, RSAPrivateKey) else rsa_key(1024))]}


def _revoked(dice: random.Random, key: RSAPrivateKey | Ed25519PrivateKey) -> Any:
    return {"TXT": ["v=DKIM1; p="]}


def _bare_rsa_key(dice: random.Random, key: RSAPrivateKey | Ed25519PrivateKey) -> Any:
    return {"TXT": [f"p={p_tag(key)}"]}


def _broken_record(dice: random.Random, key: RSAPrivateKey | Ed25519PrivateKey) -> Any:
    return {"TXT": [dice.choice(["v=DKIM1", "v=DKIM1; p=!!!", "v=DKIM2; p=AAAA", "junk", "v=DKIM1; p=AAAA", ""])]}


def _no_answer(dice: random.Random, key: RSAPrivateKey | Ed25519PrivateKey) -> Any:
    return dice.choice(["TIMEOUT", "SERVFAIL"])


def _two_records(dice: random.Random, key: RSAPrivateKey | Ed25519PrivateKey) -> Any:
    records = [key_record(key), f"v=DKIM1; p={base64.b64encode(b'x' * 90).decode()}"]
    dice.shuffle(records)
    return {"TXT": records}


RECORDS: list[Callable[[random.Random, RSAPrivateKey | Ed25519PrivateKey], Any]] = [
    _strict_record, _sha1_record, _service_record, _wrong_key, _other_type, _revoked, _bare_rsa_key, _broken_record,
    _no_answer, _two_records,
]  # fmt: skip
