"""Marks of changes that cannot be undone."""

from __future__ import annotations

import pytest

from gateway.diagnosis.autopsy.examination import AutopsyStatus, examine
from gateway.diagnosis.autopsy.search import Effort
from tests.support.signing import NOW, key_record, sign, zone

KEYS = zone(key_record())
LITTLE = 2_000_000


def message(body: bytes, content_type: bytes = b"text/plain", more: bytes = b"") -> bytes:
    return (
        b"From: Ann <ann@src.example>\r\nTo: bob@dst.example\r\nSubject: A question\r\nMIME-Version: 1.0\r\n"
        b"Date: Mon, 2 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@src.example>\r\nContent-Type: "
        + content_type
        + b"\r\n"
        + more
        + b"\r\n"
        + body
    )


def suspected(octets: bytes) -> set[str]:
    found = examine(octets, KEYS, NOW, work=LITTLE)
    assert found.status in (AutopsyStatus.SUSPECTED, AutopsyStatus.UNKNOWN)
    assert (found.status is AutopsyStatus.SUSPECTED) == bool(found.suspicions)
    assert found.repaired is None
    return {suspicion.entry.id for suspicion in found.suspicions}


def changed(octets: bytes, old: bytes, new: bytes) -> bytes:
    assert octets.count(old) >= 1
    return octets.replace(old, new)


MULTIPART = message(b"--mark\r\n\r\none\r\n--mark\r\n\r\ntwo\r\n--mark--\r\n", b'multipart/mixed; boundary="mark"')


def test_renamed_boundary() -> None:
    names = "from:to:subject:content-type"
    assert suspected(changed(sign(MULTIPART, h=names), b"mark", b"_000_ABCD1234EF_")) == {"B07"}
    assert suspected(changed(sign(MULTIPART, h=names), b"one", b"eins")) == set()


def test_a_boundary_that_is_signed_and_holds_was_not_renamed() -> None:
    styled = MULTIPART.replace(b"mark", b"_000_ABCD1234EF_")
    assert suspected(changed(sign(styled, h="from:to:subject:content-type"), b"one", b"eins")) == set()


@pytest.mark.parametrize(
    ("new", "id"),
    [
        (b"The attachment invoice.exe was removed by the scanner.", "B24"),
        (b"see https://eur01.safelinks.protection.outlook.com/?url=gone", "B21"),
    ],
)
def test_notices_and_links(new: bytes, id: str) -> None:
    assert suspected(changed(sign(MULTIPART), b"two", new)) == {id}


def test_signed_field_that_is_gone() -> None:
    signed = sign(MULTIPART, h="from:to:subject:mime-version")
    assert suspected(changed(signed, b"MIME-Version: 1.0\r\n", b"")) == {"H08"}


def test_message_id_of_a_relay() -> None:
    signed = sign(MULTIPART, h="from:to:message-id")
    assert suspected(changed(signed, b"<1@src.example>", b"<01@eu-west-1.amazonses.com>")) == {"H06"}


def test_from_of_a_list() -> None:
    munged = changed(sign(MULTIPART), b"From: Ann <ann@src.example>", b"From: Ann via L <l@list.example>")
    assert suspected(b"List-Id: <l.list.example>\r\n" + munged) == {"H05"}


def test_effort_counts() -> None:
    effort = Effort(10)
    effort.spend(4)
    assert not effort.exhausted
    effort.spend(6)
    assert effort.exhausted
