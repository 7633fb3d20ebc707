"""`waypost key`: DKIM keys made, shown, checked against DNS, and rotated."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from rich.console import Group
from rich.text import Text

from gateway.authentication.dkimpy import read_key as read_record
from gateway.config.keyring import ED25519, RSA, KeyEntry, KeyState, KeyUnusable, read_key, read_keyring, write_keyring
from gateway.model.dnsdata import DnsStatus, Question
from gateway.model.value import Value, replace
from gateway.ports import Resolver
from gateway.tools.results import Json

RSA_BITS = 2048
"""RFC 8301 section 3.2: the recommended size for signers; longer ones do not fit one string of a TXT record."""
_TXT_STRING = 255
"""RFC 1035 section 3.3: octets in one string of a TXT record."""


class KeyRefusal(ValueError):
    """A step that would break signatures; the text gives the alternative."""


class Publication(Value):
    """A key with its DNS record, as required and as found."""

    entry: KeyEntry
    record: str
    problem: str = ""
    """The fault in DNS; empty when there is none."""
    advice: str = ""
    """The remedy; empty when none is needed."""


def make_keys(directory: Path, domain: str, now: float) -> tuple[KeyEntry, KeyEntry]:
    """An RSA and an Ed25519 key for the domain, in state `new`, each with a selector of its own. Raises OSError,
    KeyringUnusable, KeyRefusal when the domain has new keys already."""
    entries = read_keyring(directory)
    waiting = [entry.selector for entry in entries if entry.domain == domain and entry.state is KeyState.NEW]
    if waiting:
        said = f"{domain} has new keys already ({', '.join(waiting)})"
        raise KeyRefusal(f"{said}: publish their records, then `waypost key rotate {domain}`")
    day = datetime.fromtimestamp(now, UTC).strftime("%Y%m%d")
    taken = {entry.selector for entry in entries if entry.domain == domain}
    stem = next(name for name in _stems(day) if not {f"{name}r", f"{name}e"} & taken)
    made = (
        KeyEntry(domain, f"{stem}r", RSA, KeyState.NEW, int(now)),
        KeyEntry(domain, f"{stem}e", ED25519, KeyState.NEW, int(now)),
    )
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for entry in made:
        file = directory / entry.file
        file.parent.mkdir(mode=0o700, exist_ok=True)
        file.touch(mode=0o600)
        file.write_bytes(_generate(entry.algorithm))
    write_keyring(directory, (*entries, *made))
    return made


def rotate(directory: Path, domain: str, now: float, keep: float) -> tuple[KeyEntry, ...]:
    """Sign with the domain's new keys from now on; the previous ones are retired. Keys retired for `keep` seconds are
    removed, with their files. Returns the domain's entries. Raises OSError, KeyringUnusable, KeyRefusal.

    Call it only when the records of the new keys have been seen in DNS.
    """
    entries = read_keyring(directory)
    if not any(entry.domain == domain and entry.state is KeyState.NEW for entry in entries):
        raise KeyRefusal(f"{domain} has no new keys: `waypost key new {domain}` makes them")
    moved = [_move(entry, now) if entry.domain == domain else entry for entry in entries]
    kept = [entry for entry in moved if entry.domain != domain or not _is_over(entry, now, keep)]
    write_keyring(directory, kept)
    for entry in moved:
        if entry not in kept:
            (directory / entry.file).unlink(missing_ok=True)
    return tuple(entry for entry in kept if entry.domain == domain)


def compose_record(key: RSAPrivateKey | Ed25519PrivateKey) -> str:
    """The TXT record of a key (RFC 6376 section 3.6.1; RFC 8463 section 4)."""
    if isinstance(key, RSAPrivateKey):
        public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return f"v=DKIM1; k=rsa; p={base64.b64encode(public).decode()}"
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return f"v=DKIM1; k=ed25519; p={base64.b64encode(public).decode()}"


def master_line(entry: KeyEntry, record: str) -> str:
    """The record as a line of a zone file (RFC 1035 section 5.1)."""
    pieces = [record[at : at + _TXT_STRING] for at in range(0, len(record), _TXT_STRING)]
    strings = " ".join(f'"{piece}"' for piece in pieces)
    return f"{entry.record_name}. 3600 IN TXT ( {strings} )"


def show_keys(directory: Path, entries: Iterable[KeyEntry]) -> tuple[Publication, ...]:
    """Each key with the record that it needs; DNS is not asked."""
    return tuple(_show_key(directory, entry) for entry in entries)


def _show_key(directory: Path, entry: KeyEntry) -> Publication:
    """Without a record where the key cannot be read: the others are shown all the same."""
    try:
        return Publication(entry, compose_record(read_key(directory, entry)))
    except OSError as error:
        said = f"{error.filename}: {error.strerror}"
    except KeyUnusable as error:
        said = f"{directory / entry.file} {error.problem}"
    return Publication(entry, "", said, f"put the key back, or make new ones: waypost key new {entry.domain}")


async def check_keys(
    directory: Path, entries: Sequence[KeyEntry], resolver: Resolver, now: float, keep: float
) -> tuple[Publication, ...]:
    """Each key with its state in DNS. `keep` is the number of seconds that a retired key's record must stay."""
    questions = {entry: Question(entry.record_name, "TXT") for entry in entries}
    answers = await resolver.fetch(questions.values())
    found = []
    for entry, question in questions.items():
        shown, answer = _show_key(directory, entry), answers[question]
        if shown.problem:
            found.append(shown)
            continue
        texts = [str(text) for text in answer.records] if answer.status is DnsStatus.FOUND else []
        state = (
            "" if answer.status in (DnsStatus.FOUND, DnsStatus.NXDOMAIN, DnsStatus.NODATA) else f"DNS: {answer.status}"
        )
        found.append(_compare(entry, shown.record, texts, state, now, keep))
    return tuple(found)


def _compare(
    entry: KeyEntry, record: str, texts: Sequence[str], unanswered: str, now: float, keep: float
) -> Publication:
    if unanswered:
        return Publication(entry, record, unanswered, "ask again later")
    right = any(_same_key(text, record) for text in texts)
    if _is_over(entry, now, keep):
        advice = "remove its record, or publish it with an empty p=; the next rotation forgets the key"
        return Publication(entry, record, "", advice if right else "")
    if right and len(texts) == 1:
        over = datetime.fromtimestamp(entry.since + keep, UTC).strftime("%Y-%m-%d")
        words = {
            KeyState.NEW: f"published: `waypost key rotate {entry.domain}` signs with it",
            KeyState.SIGNING: "",
            KeyState.RETIRED: f"leave its record until {over}: mail that it signed may still wait somewhere",
        }
        return Publication(entry, record, "", words[entry.state])
    if right:
        return Publication(entry, record, "another TXT record stands beside it", "remove the other one")
    problem = "another key is published" if texts else "no record is published"
    advice = "publish the record shown" if entry.state is not KeyState.RETIRED else "publish it again until it is over"
    return Publication(entry, record, problem, advice)


def keys_json(publications: Iterable[Publication]) -> list[Json]:
    """For programs; `problem` and `advice` are null when there is none."""
    return [
        {
            "domain": one.entry.domain,
            "selector": one.entry.selector,
            "algorithm": one.entry.algorithm,
            "state": one.entry.state.value,
            "since": one.entry.since,
            "name": one.entry.record_name,
            "record": one.record or None,
            "problem": one.problem or None,
            "advice": one.advice or None,
        }
        for one in publications
    ]


def render_keys(publications: Sequence[Publication], with_records: bool) -> Group:
    """Two or three lines for each key."""
    if not publications:
        return Group(Text("There are no keys. `waypost key new DOMAIN` makes a pair."))
    lines = []
    for one in publications:
        since = datetime.fromtimestamp(one.entry.since, UTC).strftime("%Y-%m-%d %H:%M UTC")
        lines.append(Text(f"{one.entry.record_name}  {one.entry.algorithm}  {one.entry.state} since {since}", "bold"))
        if with_records and one.record:
            lines.append(Text(f"    {master_line(one.entry, one.record)}"))
        said = "; ".join(text for text in (one.problem, one.advice) if text)
        if said:
            lines.append(Text(f"    {said}", "red" if one.problem else ""))
    return Group(*lines)


def _generate(algorithm: str) -> bytes:
    """A fresh private key in PEM."""
    if algorithm == RSA:
        return generate_private_key(65537, RSA_BITS).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _stems(day: str) -> Iterable[str]:
    yield f"wp{day}"
    yield from (f"wp{day}-{number}" for number in range(2, 1000))


def _move(entry: KeyEntry, now: float) -> KeyEntry:
    following = {KeyState.NEW: KeyState.SIGNING, KeyState.SIGNING: KeyState.RETIRED}.get(entry.state)
    return entry if following is None else replace(entry, state=following, since=int(now))


def _is_over(entry: KeyEntry, now: float, keep: float) -> bool:
    return entry.state is KeyState.RETIRED and now >= entry.since + keep


def _same_key(published: str, record: str) -> bool:
    theirs, ours = read_record(published), read_record(record)
    return not theirs.problem and theirs.public == ours.public
