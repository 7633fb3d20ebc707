"""DMARC records and DKIM keys, tag by tag: defaults and faults."""

from __future__ import annotations

import pytest

from gateway.diagnosis.records.dmarc_lint import explain, lint
from gateway.diagnosis.records.key_lint import report_key
from gateway.diagnosis.records.typography import find_odd, read_text, repair
from tests.support.signing import key_record, rsa_key


def test_every_tag_is_shown_with_its_default() -> None:
    tags = {tag.name: (tag.value, tag.source) for tag in explain("v=DMARC1; p=quarantine; sp=reject; aspf=s; pct=20")}
    assert tags == {
        "v": ("DMARC1", "record"),
        "p": ("quarantine", "record"),
        "sp": ("reject", "record"),
        "np": ("reject", "default"),
        "adkim": ("r", "default"),
        "aspf": ("s", "record"),
        "psd": ("u", "default"),
        "t": ("n", "default"),
        "fo": ("0", "default"),
        "rua": ("", "default"),
        "ruf": ("", "default"),
        "pct": ("20", "ignored"),
    }


def test_a_bad_value_is_replaced_by_the_default() -> None:
    [adkim] = [tag for tag in explain("v=DMARC1; p=none; adkim=strict") if tag.name == "adkim"]
    assert (adkim.value, adkim.source) == ("r", "default")


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ("v=DMARC1; p=rejct; rua=mailto:a@b.example", "error p=rejct: the policies are none, quarantine and reject"),
        ("v=DMARC1; p=none; rua=a@b.example", "error rua=a@b.example: an address needs mailto: before it"),
        ("v=DMARC1; p=none; rua=https://b.example", "is not a mailto: address"),
        ("v=DMARC1; p=none; p=reject", "error p= stands in the record twice"),
        ("v=DMARC1; rua=mailto:a@b.example; p=none", "warning p= does not come right after the version"),
        ("v=DMARC1; rua=mailto:a@b.example", "error the record has no p="),
        ("v=DMARC1; p=none; reject", "warning 'reject' is not a tag"),
        ("v=DMARC1; p=reject; sp=none", "warning sp=none leaves subdomains open"),
        ("v=DMARC1; p=none; fo=2; ruf=mailto:a@b.example", "error fo=2: the values are 0, 1, d and s"),
        ("v=DMARC1; p=none; pct=50", "warning pct=50 is removed by RFC 9989"),
        ("v=DMARC1; p=none; pct=500", "error pct=500: not a percentage"),
        ("v=DMARC1; p=none; t=yes", "error t=yes: neither y nor n"),
        ("v=DMARC1; p=none; adkim=x", "error adkim=x: neither r nor s"),
        ("v=DMARC1; p=none; psd=x", "error psd=x: the values are y, n and u"),
        ("v=DMARC1; p=none", "warning the record has no rua="),
        (
            "v=DMARC1; p=reject; rua=mailto:a@b\u2013c.example",
            "error the record holds characters that make void what they touch, en dash (\\u2013)",
        ),
        ("v=DMARC1; p=reject rua=mailto:a@b.example", "a semicolon is missing before rua="),
        ("v=DMARC1; p=reject; sp=nome", "receivers read the whole record as p=none"),
        ("v=DMARC1\\; p=reject", "holds backslashes"),
        ('"v=DMARC1; p=reject"', "error the record holds quotation marks"),
    ],
)
def test_lints(record: str, expected: str) -> None:
    assert any(expected in f"{one.weight} {one.text}" for one in lint(record, exact=True))


def test_a_good_record_has_none() -> None:
    assert (
        lint(
            "v=DMARC1; p=reject; rua=mailto:a@b.example!10m,mailto:c@d.example; ruf=mailto:a@b.example; fo=1:d",
            exact=True,
        )
        == ()
    )


def test_typography() -> None:
    published = "“v=DMARC1; p=reject”".encode().decode("latin-1")
    assert read_text(published) == "“v=DMARC1; p=reject”"
    assert [name.partition(" (")[0] for name in find_odd(read_text(published))] == [
        "left double quotation mark",
        "right double quotation mark",
    ]
    assert repair("“v=DMARC1;\u00a0p=reject”") == "v=DMARC1; p=reject"
    assert read_text("\xff") == "ÿ"


def test_a_good_key() -> None:
    report = report_key(key_record(rsa_key()))
    assert (report.type, report.usable, report.problems) == ("rsa", True, ())
    assert report.bits in (1024, 2048)


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ("v=DKIM1; p=", "key is revoked"),
        ("v=DKIM1; k=rsa; p=AAAA", "key cannot be read"),
        ("v=DKIM1; k=dsa; p=AAAA", "key type is unknown"),
        ("v=DKIM1; k=rsa", "key record has no p= tag"),
        ('v=DKIM1; p=AA" "AA', "holds quotation marks"),
        ("“v=DKIM1; p=AAAA”", "left double quotation mark"),
        ("hello", "key record syntax error"),
    ],
)
def test_bad_keys(record: str, problem: str) -> None:
    assert any(problem in text for text in report_key(record.encode().decode("latin-1")).problems)


@pytest.mark.parametrize(
    ("tags", "note"),
    [("t=y;", "still being tested"), ("g=*;", "older standard"), ("h=sha1:sha256;", "allows sha1")],
)
def test_notes_on_keys(tags: str, note: str) -> None:
    assert any(note in text for text in report_key(f"{tags} {key_record(rsa_key())}".replace("v=DKIM1;", "")).notes)
