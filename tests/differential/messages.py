"""Messages with odd signatures, odd key records and odd fields, and one SPF check each; the same for the same seed.

Each case has DNS names of its own, so that one server can answer for all of them. `oddities` names what was done to the
message, `signatures` what is odd in each signature or its key, by selector: a difference is told apart by them.
"""

from __future__ import annotations

import base64
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.differential.sender_checks import at_own_names, make_sender_check
from tests.support.signing import Signer, fixed_ed25519_key, fixed_rsa_key, p_tag, seal

Case: TypeAlias = dict[str, Any]
Key: TypeAlias = RSAPrivateKey | Ed25519PrivateKey
Zone: TypeAlias = dict[str, Any]

PAST = 1_700_000_000
"""A time that is over by every clock; FUTURE is one that no clock has reached."""
FUTURE = 3_000_000_000


def make_case(seed: int) -> Case:
    dice = random.Random(seed)
    made = _Message(dice, f"m{seed}.example")
    check = at_own_names(make_sender_check(seed), f"s{seed}.example")
    return {
        "id": f"odd-{seed}",
        "message": made.octets,
        "dns": {**made.zone, **check["dns"]},
        "now": time.time(),
        "ip": check["ip"],
        "helo": check["helo"],
        "sender": check["sender"],
        "oddities": made.oddities,
        "signatures": made.signatures,
    }


FORMS = {"simple/simple/simple": "simple/simple", "nowsp": "relaxed/simple", "Relaxed/Relaxed": "relaxed/relaxed"}
"""The signed octets when c= is odd."""


class _Message:
    """One message as it grows: fields, body, signatures, seals, then what happens to it on the way."""

    def __init__(self, dice: random.Random, domain: str) -> None:
        self.zone: Zone = {}
        self.signatures: dict[str, list[str]] = {}
        self.oddities: list[str] = []
        self._dice = dice
        self._domain = domain
        self.octets = b"".join(_make_fields(dice, domain)) + b"\r\n" + _make_body(dice)
        for number in range(dice.choices([1, 2, 3], [14, 4, 1])[0]):
            self._sign(f"s{number}")
        for instance in range(1, 1 + dice.choices([0, 1, 2, 3], [12, 4, 2, 1])[0]):
            self._seal(instance)
        for _ in range(dice.choices([0, 1, 2], [6, 12, 2])[0]):
            change = dice.choice(CHANGES)
            self.octets = change(dice, self.octets)
            self.oddities.append(change.__name__.strip("_"))
        self.oddities += _find_oddities(self.octets)
        for selector in _find_repeated(self.octets):
            self.signatures.setdefault(selector, []).append("repeated field")

    def _sign(self, selector: str) -> None:
        dice, domain = self._dice, self._domain
        key = dice.choices([fixed_rsa_key(1024), fixed_rsa_key(2048), fixed_ed25519_key()], [6, 2, 2])[0]
        odd = ["ed25519"] if isinstance(key, Ed25519PrivateKey) else []
        tags = _make_tags(dice, key, domain, selector, odd)
        record = dice.choices([_plain_record, *RECORDS], [50, *[1] * len(RECORDS)])[0]
        if record is not _plain_record:
            odd.append(record.__name__.strip("_"))
        self.zone |= record(dice, key, f"{selector}._domainkey.{domain}")
        name = dice.choices(["DKIM-Signature", "dkim-signature"], [4, 1])[0]
        fold = dice.choice([" ", "\r\n\t", ""])
        signer = Signer(tuple(tags.items()), key, name, fold, FORMS.get(tags["c"] or "", ""))
        self.octets = signer.sign(self.octets) + self.octets
        self.signatures[selector] = odd

    def _seal(self, instance: int) -> None:
        dice, selector, key = self._dice, f"a{instance}", fixed_rsa_key(1024)
        self.zone[f"{selector}._domainkey.{self._domain}"] = {"TXT": [f"v=DKIM1; k=rsa; p={p_tag(key)}"]}
        form = dice.choice(["relaxed/relaxed", "simple/simple", "relaxed/simple"])
        names = dice.choice(["from:to:subject:date", "from:subject", "from:to:dkim-signature"])
        cv = dice.choices([None, "fail", "none"], [30, 1, 1])[0]
        self.octets = seal(self.octets, instance, cv, key, d=self._domain, s=selector, c=form, h=names)


def _find_oddities(octets: bytes) -> list[str]:
    """Oddities that changes and chance leave, whatever did it."""
    header, mark, body = octets.partition(b"\r\n\r\n")
    found = {
        "no body": not mark,
        "control": bool(set(header) & {*range(9), 11, 12, *range(14, 32), 127}),
        "8-bit header": any(octet > 127 for octet in header),
        "bare newline": any(mark in octets.replace(b"\r\n", b"") for mark in (b"\r", b"\n")),
        "unfinished": not octets.endswith(b"\r\n"),
        "nul": b"\0" in octets,
        "long line": any(len(line) > 998 for line in octets.split(b"\r\n")),
        "blank body": bool(body) and not body.strip(),
        "8-bit name": any(max(line.partition(b":")[0], default=0) > 127 for line in header.split(b"\r\n")),
        "no field": any(line and line[:1] not in b" \t" and b":" not in line for line in header.split(b"\r\n")),
    }
    return [name for name, there in found.items() if there]


def _find_repeated(octets: bytes) -> Iterator[str]:
    """The selectors of the signatures that cover a name which occurs in the header more than once."""
    fields = re.split(rb"\r\n(?![ \t])", octets.partition(b"\r\n\r\n")[0])
    count = Counter(field.partition(b":")[0].strip().lower() for field in fields)
    for field in fields:
        name, _, value = field.partition(b":")
        if name.strip().lower() in (b"dkim-signature", b"arc-message-signature"):
            tags = {tag.strip(): text for tag, _, text in (item.partition(b"=") for item in value.split(b";"))}
            covered = {one.strip().lower() for one in tags.get(b"h", b"").split(b":")}
            if any(count[one] > 1 for one in covered):
                yield tags.get(b"s", b"").strip().decode("latin-1").lower()


# The signed octets.


def _make_fields(dice: random.Random, domain: str) -> list[bytes]:
    values = [
        b" plain", b"", b" ", b"tight", b" two  blanks ", b"\ttab", b" folded\r\n here", b" folded\r\n\t\r\n twice",
        b"\r\n begins folded", b" colon: inside", b" =?utf-8?q?=C3=A9?=", b" 8\xc3\xa9bit", b" x" * 60,
        b" trailing \t ", b" " + b"y" * 1200,
    ]  # fmt: skip
    author = dice.choice([b"Ann <ann@%b>", b'"Ann, B." <ann@%b>', b"ann@%b", b"Ann\r\n <ann@%b>"]) % domain.encode()
    found = [b"From: " + author + b"\r\n", b"To:" + dice.choice(values) + b"\r\n"]
    names = [b"Subject", b"Date", b"X-One", b"x-one", b"Received", b"received", b"MIME-Version", b"Subject", b"To"]
    found += [name + b":" + dice.choice(values) + b"\r\n" for name in dice.sample(names, 5)]
    dice.shuffle(found)
    return found


def _make_body(dice: random.Random) -> bytes:
    if dice.random() < 0.06:
        return dice.choice([b"", b"\r\n", b" \r\n", b"\r\n\r\n"])
    lines = [b"", b" ", b"\t", b"text", b"two  blanks", b" leading", b"trailing \t ", b".dot", b"\xc3\xa9", b"x" * 1200]
    ends = [b"\r\n", b"\r\n\r\n", b" \r\n\r\n", b"\r\n \r\n", b""]
    return b"\r\n".join(dice.choices(lines, k=dice.randrange(12))) + dice.choices(ends, [8, 5, 5, 5, 1])[0]


def _make_tags(dice: random.Random, key: Key, domain: str, selector: str, odd: list[str]) -> dict[str, str | None]:
    rsa = isinstance(key, RSAPrivateKey)
    names = [
        "from",
        *dice.choices(["to", "subject", "Date", "x-one", "received", "absent", "FROM"], k=dice.randrange(8)),
    ]
    tags: dict[str, str | None] = {
        "a": "rsa-sha256" if rsa else "ed25519-sha256",
        "c": dice.choice(["relaxed/relaxed", "simple/simple", "relaxed/simple", "simple/relaxed", "relaxed", None]),
        "d": domain,
        "s": selector,
        "h": dice.choice([":", " : ", ":\r\n\t"]).join(names),
    }
    for chance, name, value in (
        (0.1, "t", str(PAST)), (0.03, "t", str(FUTURE)), (0.01, "t", "soon"), (0.01, "t", "-1"),
        (0.1, "x", str(FUTURE + 9)), (0.03, "x", str(PAST + 9)), (0.02, "x", str(PAST - 9)), (0.01, "x", "never"),
        (0.01, "x", "99999999999999"),
        (0.1, "i", f"@{domain}"), (0.05, "i", f"ann@sub.{domain}"), (0.02, "i", "@other.example"),
        (0.02, "i", f"a=40b@{domain}"), (0.02, "i", f"@{domain.upper()}"), (0.01, "i", "nobody"),
        (0.05, "l", str(dice.randrange(40))), (0.02, "l", "0"), (0.01, "l", "99999"),
        (0.05, "q", "dns/txt"), (0.02, "q", "dns/txt:http"), (0.01, "q", "http"),
        (0.05, "z", "From:ann=40src.example"),
        (0.02, "a", "rsa-sha1" if rsa else "ed25519-sha1"),
        (0.01, "v", "2"), (0.01, "v", None),
        (0.01, "h", "to:subject"), (0.01, "h", "from::to"), (0.01, "h", "from:to:"),
        (0.01, "d", None), (0.02, "d", domain.upper()), (0.01, "d", f" {domain} "), (0.01, "d", f"{domain}."),
        (0.01, "s", f" {selector}\r\n\t"), (0.01, "s", selector.upper()),
        (0.01, "note", "1; t=12345"), (0.01, "note", "ok;"), (0.01, "Note", "1"), (0.01, "no-te", "1"),
        (0.01, "c", "simple/simple/simple"), (0.01, "c", "nowsp"), (0.01, "c", "Relaxed/Relaxed"),
    ):  # fmt: skip
        if dice.random() < chance:
            tags[name] = value
            odd.append(f"{name}={value}".replace(domain, "DOMAIN").replace(domain.upper(), "UPPER"))
    return tags


# The changes on the way.


def _alter_body(dice: random.Random, message: bytes) -> bytes:
    return message + dice.choice([b"x", b" ", b"\r\n", b"\r\n\r\n", b"Added line.\r\n", b" \r\n"])


def _blank_in_body(dice: random.Random, message: bytes) -> bytes:
    return message.replace(b"text", dice.choice([b"text ", b" text", b"te xt"]))


def _refold(dice: random.Random, message: bytes) -> bytes:
    return message.replace(b": ", dice.choice([b":  ", b":\r\n ", b":\t"]), 3)


def _recase(dice: random.Random, message: bytes) -> bytes:
    return message.replace(b"To:", b"TO:").replace(b"Subject:", b"subject:")


def _add_field(dice: random.Random, message: bytes) -> bytes:
    name = dice.choice([b"Received: new", b"To: new", b"From: <bob@other.example>", b"X-New: new", b"Subject: new"])
    return name + b"\r\n" + message


def _drop_field(dice: random.Random, message: bytes) -> bytes:
    name = dice.choice([b"To:", b"Subject:", b"Date:", b"X-One:", b"From:", b"ARC-Seal:", b"ARC-Message-Signature:"])
    before, mark, after = message.partition(b"\r\n" + name)
    return before + b"\r\nX-Was-" + name + after if mark else message


def _swap_bits(dice: random.Random, message: bytes) -> bytes:
    at = dice.randrange(len(message))
    return message[:at] + bytes([message[at] ^ 1 << dice.randrange(8)]) + message[at + 1 :]


def _blank_before_colon(dice: random.Random, message: bytes) -> bytes:
    return message.replace(b"\r\nTo:", dice.choice([b"\r\nTo :", b"\r\nTo\t:"]))


def _folded_name(dice: random.Random, message: bytes) -> bytes:
    return message.replace(b"\r\nSubject:", b"\r\nSubject\r\n :")


def _cut(dice: random.Random, message: bytes) -> bytes:
    return message[: dice.randrange(len(message))]


def _bare_newline(dice: random.Random, message: bytes) -> bytes:
    at = dice.randrange(len(message))
    return message[:at] + dice.choice([b"\n", b"\r"]) + message[at:]


def _nul(dice: random.Random, message: bytes) -> bytes:
    at = dice.randrange(len(message))
    return message[:at] + b"\0" + message[at:]


def _fold_b(dice: random.Random, message: bytes) -> bytes:
    """White space within the topmost b= changes nothing that is signed (RFC 6376 section 3.7)."""
    mark = re.search(rb"[; \t]b=", message)
    if mark is None:
        return message
    return message[: mark.end() + 20] + dice.choice([b"\r\n\t", b" "]) + message[mark.end() + 20 :]


def _swap_case_of_value(dice: random.Random, message: bytes) -> bytes:
    return message.replace(b" plain", b" Plain").replace(b"two  blanks", b"two blanks")


CHANGES: list[Callable[[random.Random, bytes], bytes]] = [
    _alter_body, _blank_in_body, _refold, _recase, _add_field, _drop_field, _swap_bits, _swap_bits,
    _blank_before_colon, _folded_name, _cut, _bare_newline, _nul, _fold_b, _swap_case_of_value,
]  # fmt: skip


# Key records.


def _write(key: Key, name: str, record: str) -> Zone:
    """A record in which KEY is the key's p= and TYPE its k=."""
    kind = "rsa" if isinstance(key, RSAPrivateKey) else "ed25519"
    return {name: {"TXT": [record.replace("KEY", p_tag(key)).replace("TYPE", kind)]}}


def _plain_record(dice: random.Random, key: Key, name: str) -> Zone:
    return _write(
        key, name, f"v=DKIM1; k=TYPE; {dice.choice(['', '', 't=y;', 'n=note;', 'h=sha256;', 's=email;'])} p=KEY"
    )


def _strict_record(dice: random.Random, key: Key, name: str) -> Zone:
    return _write(key, name, dice.choice(["v=DKIM1; k=TYPE; t=s; p=KEY", "v=DKIM1; k=TYPE; t=y:s; p=KEY"]))


def _sha1_record(dice: random.Random, key: Key, name: str) -> Zone:
    return _write(key, name, "v=DKIM1; k=TYPE; h=sha1; p=KEY")


def _hash_list_record(dice: random.Random, key: Key, name: str) -> Zone:
    return _write(
        key, name, dice.choice(["v=DKIM1; k=TYPE; h=sha1:sha256; p=KEY", "v=DKIM1; h= sha256 : new; k=TYPE; p=KEY"])
    )


def _service_record(dice: random.Random, key: Key, name: str) -> Zone:
    return _write(key, name, "v=DKIM1; k=TYPE; s=other; p=KEY")


def _services_record(dice: random.Random, key: Key, name: str) -> Zone:
    return _write(key, name, dice.choice(["v=DKIM1; k=TYPE; s=*; p=KEY", "v=DKIM1; k=TYPE; s=other:email; p=KEY"]))


def _granularity_record(dice: random.Random, key: Key, name: str) -> Zone:
    return _write(
        key, name, dice.choice(["v=DKIM1; g=*; k=TYPE; p=KEY", "v=DKIM1; g=; k=TYPE; p=KEY", "g=bob; k=TYPE; p=KEY"])
    )


def _spaced_record(dice: random.Random, key: Key, name: str) -> Zone:
    record = dice.choice([" v=DKIM1; k=TYPE; p=KEY", "v = DKIM1 ; k = TYPE ; p = KEY ;", "v=DKIM1;k=TYPE;\tp=KEY;;"])
    return _write(key, name, record)


def _blank_in_key(dice: random.Random, key: Key, name: str) -> Zone:
    encoded = p_tag(key)
    return _write(key, name, f"v=DKIM1; k=TYPE; p={encoded[:20]} {encoded[20:30]}\t{encoded[30:]}")


def _tag_case_record(dice: random.Random, key: Key, name: str) -> Zone:
    return _write(
        key, name, dice.choice(["V=DKIM1; K=TYPE; P=KEY", "v=dkim1; k=TYPE; p=KEY", "v=DKIM1; k=TYPE; P=KEY"])
    )


def _type_case_record(dice: random.Random, key: Key, name: str) -> Zone:
    return _write(key, name, f"v=DKIM1; k={'RSA' if isinstance(key, RSAPrivateKey) else 'Ed25519'}; p=KEY")


def _late_version(dice: random.Random, key: Key, name: str) -> Zone:
    return _write(key, name, "k=TYPE; v=DKIM1; p=KEY")


def _no_version(dice: random.Random, key: Key, name: str) -> Zone:
    return _write(key, name, "k=TYPE; p=KEY")


def _tag_twice(dice: random.Random, key: Key, name: str) -> Zone:
    return _write(key, name, dice.choice(["v=DKIM1; k=TYPE; p=KEY; p=KEY", "v=DKIM1; k=TYPE; k=TYPE; p=KEY"]))


def _strange_tag(dice: random.Random, key: Key, name: str) -> Zone:
    return _write(
        key,
        name,
        dice.choice(
            ["v=DKIM1; k=TYPE; x-y=1; p=KEY", "v=DKIM1; k=TYPE; zz=a b c; p=KEY", "v=DKIM1; k=TYPE; note; p=KEY"]
        ),
    )


def _wrong_key(dice: random.Random, key: Key, name: str) -> Zone:
    other = fixed_rsa_key(1536) if isinstance(key, RSAPrivateKey) else fixed_ed25519_key(1)
    return _write(other, name, "v=DKIM1; k=TYPE; p=KEY")


def _short_key(dice: random.Random, key: Key, name: str) -> Zone:
    return _write(fixed_rsa_key(512), name, "v=DKIM1; k=rsa; p=KEY")


def _other_type(dice: random.Random, key: Key, name: str) -> Zone:
    other = fixed_ed25519_key() if isinstance(key, RSAPrivateKey) else fixed_rsa_key(1024)
    return _write(other, name, "v=DKIM1; k=TYPE; p=KEY")


def _revoked(dice: random.Random, key: Key, name: str) -> Zone:
    return _write(key, name, "v=DKIM1; k=TYPE; p=")


def _untyped_key(dice: random.Random, key: Key, name: str) -> Zone:
    return _write(key, name, "p=KEY")


def _raw_rsa_key(dice: random.Random, key: Key, name: str) -> Zone:
    """The RSAPublicKey itself, as RFC 6376 section 3.6.1 writes it, without the frame that all use."""
    if not isinstance(key, RSAPrivateKey):
        return _plain_record(dice, key, name)
    octets = key.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
    return {name: {"TXT": [f"v=DKIM1; k=rsa; p={base64.b64encode(octets).decode()}"]}}


def _broken_record(dice: random.Random, key: Key, name: str) -> Zone:
    record = dice.choice(["v=DKIM1", "v=DKIM1; p=!!!", "v=DKIM2; p=KEY", "junk", "v=DKIM1; p=AAAA", ""])
    return _write(key, name, record)


def _no_record(dice: random.Random, key: Key, name: str) -> Zone:
    return {name: {}} if dice.random() < 0.5 else {}


def _no_answer(dice: random.Random, key: Key, name: str) -> Zone:
    return {name: "SERVFAIL"}


def _alias(dice: random.Random, key: Key, name: str) -> Zone:
    return {name: {"CNAME": [f"key.{name}"]}, **_plain_record(dice, key, f"key.{name}")}


def _alias_to_nothing(dice: random.Random, key: Key, name: str) -> Zone:
    return {name: {"CNAME": [f"none.{name}"]}}


def _two_records(dice: random.Random, key: Key, name: str) -> Zone:
    good = _plain_record(dice, key, name)[name]["TXT"]
    records = [*good, f"v=DKIM1; p={base64.b64encode(b'x' * 90).decode()}"]
    dice.shuffle(records)
    return {name: {"TXT": records}}


def _record_of_another_kind(dice: random.Random, key: Key, name: str) -> Zone:
    records = [*_plain_record(dice, key, name)[name]["TXT"], "v=spf1 -all"]
    dice.shuffle(records)
    return {name: {"TXT": records}}


RECORDS: list[Callable[[random.Random, Key, str], Zone]] = [
    _strict_record, _sha1_record, _hash_list_record, _service_record, _services_record, _granularity_record,
    _spaced_record, _blank_in_key, _tag_case_record, _type_case_record, _late_version, _no_version, _tag_twice,
    _strange_tag, _wrong_key, _short_key, _other_type, _revoked, _untyped_key, _raw_rsa_key, _broken_record,
    _no_record, _no_answer, _alias, _alias_to_nothing, _two_records, _record_of_another_kind,
]  # fmt: skip
