"""The record that applies to a domain, and the next step for its owner."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from gateway.authentication.lookup import DnsView
from gateway.diagnosis.records.dkim_report import KeyCheck, check_key, key_json, render_key
from gateway.diagnosis.records.dmarc_advice import (
    RecordAdvice,
    advice_json,
    advise,
    render_advice,
    render_survey,
    survey_json,
)
from gateway.diagnosis.records.dmarc_survey import Survey, survey
from gateway.net.zone import build_zone

GOOD = "v=DMARC1; p=reject; np=reject; rua=mailto:r@a.example"


def look(zone: dict[str, Any], domain: str = "a.example") -> Survey:
    return survey(domain, DnsView(build_zone(zone).find))


def publish(record: str, **around: list[str]) -> dict[str, Any]:
    return {"_dmarc.a.example": {"TXT": [record]}, "a.example": {"TXT": ["v=spf1 a ~all"], **around}}


def show(renderable: object) -> str:
    console = Console(width=100, soft_wrap=True, highlight=False)
    with console.capture() as shown:
        console.print(renderable)
    return shown.get()


def test_a_sound_record() -> None:
    found = look(publish(GOOD))
    assert found.sound
    assert "asks receivers to refuse it (p=reject)" in show(render_survey(found))
    assert survey_json(found)["policy"] == "reject"


def test_every_default_is_printed() -> None:
    text = show(render_survey(look(publish("v=DMARC1; p=none"))))
    for name in ("v", "p", "sp", "np", "adkim", "aspf", "psd", "t", "fo", "rua", "ruf"):
        assert f"\n  {name} " in text


def test_the_record_of_the_organisation_applies_below_it() -> None:
    found = look(publish("v=DMARC1; p=reject; sp=quarantine"), "mail.a.example")
    assert found.result.policy_domain == "a.example"
    assert found.result.policy == "quarantine"
    assert "work on that one" in advise(found).steps[0]


def test_a_test_lowers_the_policy() -> None:
    assert "one step lower because it is a test" in show(render_survey(look(publish(f"{GOOD}; t=y"))))


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ({}, "no DMARC record"),
        (
            {"_dmarc.a.example": {"TXT": [GOOD, GOOD.replace("reject", "none")]}},
            "_dmarc.a.example has 2 records, and receivers then ignore all",
        ),
        ({"_dmarc.a.example": {"TXT": ["v=dmarc1; p=none"]}}, "It must begin with v=DMARC1"),
        ({"a.example": {"TXT": [GOOD]}}, "it belongs at _dmarc.a.example"),
        ({"_dmarc.a.example": "TIMEOUT"}, "no answer for _dmarc.a.example"),
        (publish("v=DMARC1; p=none; rua=mailto:r@b.example"), "b.example does not say that it takes them"),
        (
            publish("v=DMARC1; p=none; rua=mailto:r@b.example")
            | {"a.example._report._dmarc.b.example": {"TXT": ["v=DMARC1"]}},
            "b.example takes them",
        ),
    ],
)
def test_what_is_shown(zone: dict[str, Any], expected: str) -> None:
    assert expected in show(render_survey(look(zone)))


@pytest.mark.parametrize(
    ("zone", "step", "record"),
    [
        ({}, "collects reports", "v=DMARC1; p=none; rua=mailto:dmarc-reports@a.example"),
        (publish("v=DMARC1; p=none"), "Add rua=", "v=DMARC1; p=none; np=reject; rua=mailto:dmarc-reports@a.example"),
        (
            publish("v=DMARC1; p=none; rua=mailto:r@a.example"),
            "Read the reports",
            "v=DMARC1; p=quarantine; np=reject; rua=mailto:r@a.example",
        ),
        (publish("v=DMARC1; p=quarantine; rua=mailto:r@a.example"), "ask to refuse", GOOD),
        (publish(GOOD), "as strict as it can be", ""),
        (publish(f"{GOOD}; sp=none"), "Leave sp=none out", GOOD),
        (
            publish("v=DMARC1; p=rejct; rua=r@a.example"),
            "Mend the record first",
            "v=DMARC1; p=none; np=reject; rua=mailto:r@a.example",
        ),
        (publish("“v=DMARC1; p=reject”"), "Mend the record first", "v=DMARC1; p=reject"),
        (publish(GOOD) | {"a.example": {"TXT": ["x"]}}, "Publish an SPF record", ""),
        (
            {"a.example": {"TXT": ["v=spf1 -all"]}},
            "sends no mail",
            "v=DMARC1; p=reject; np=reject; rua=mailto:dmarc-reports@a.example",
        ),
    ],
)
def test_advice(zone: dict[str, Any], step: str, record: str) -> None:
    found = look(zone)
    advice: RecordAdvice = advise(found)
    assert any(step in text for text in advice.steps)
    assert advice.record == record
    assert advice_json(found, advice)["record"] == (record or None)
    assert (record in show(render_advice(found, advice))) or not record


def key(zone: dict[str, Any]) -> KeyCheck:
    return check_key("s", "a.example", DnsView(build_zone(zone).find))


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ({}, "there is no such name"),
        ({"s._domainkey.a.example": {"A": ["192.0.2.1"]}}, "has no TXT record"),
        ({"s._domainkey.a.example": "SERVFAIL"}, "DNS gave no answer (servfail)"),
        ({"s._domainkey.a.example": {"TXT": ["v=DKIM1; p=", "v=DKIM1; p=x"]}}, "has 2 records"),
        ({"s._domainkey.a.example": {"TXT": ["v=DKIM1; p="]}}, "key is revoked"),
    ],
)
def test_keys(zone: dict[str, Any], expected: str) -> None:
    found = key(zone)
    assert not found.sound
    assert expected in show(render_key(found))
    assert key_json(found)["sound"] is False
