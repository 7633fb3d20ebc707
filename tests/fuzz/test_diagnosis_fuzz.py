"""Invariant: headers, bounces and reports of any octets are read and shown, as text and as JSON, and nothing raises."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from time import process_time

import pytest
from rich.console import Console

from gateway.diagnosis.bounce import Bounce, bounce_json, decode, read_handed, render_bounce
from gateway.diagnosis.bounce.arf import Feedback
from gateway.diagnosis.bounce.feedback import feedback_json, judge_feedback, render_feedback
from gateway.diagnosis.headers import find_all, headers_json, read_headers, render_headers
from gateway.diagnosis.reports.show import read_reports, render_report, report_json
from gateway.tools.results import read_lines
from tests.fuzz.mutation import CASES, run
from tests.support.bounces import SAMPLES
from tests.support.corpora import corpora, corpus

FILES = sorted(file for file in corpora().joinpath("mime").rglob("*") if file.is_file())
WORDS = [
    b"Received: from a (b [192.0.2.1]) by c; ",
    b"Authentication-Results: x; spf=fail smtp.mailfrom=a.example; dmarc=fail action=oreject\r\n",
    b"Content-Type: message/delivery-status\r\n\r\n",
    b"Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\n",
    b"Content-Transfer-Encoding: base64\r\n",
    b"charset=idna",
    b"550 5.7.1 -> 421 ",
    b"Final-Recipient: rfc822; ",
    b"Source-IP: ",
]


def read_all(octets: bytes) -> None:
    """The processing of a file by `headers` and `bounce`."""
    message_octets, newlines = read_lines(octets, raw=False)
    reading = read_headers(message_octets)
    findings = find_all(reading)
    shown = [render_headers(reading, findings, newlines)]
    trees = [headers_json(reading, findings, newlines)]
    found = read_handed(read_lines(decode(octets), raw=False)[0])
    if isinstance(found, Feedback):
        judged = judge_feedback(found)
        assert judged
        shown.append(render_feedback(found, judged, newlines))
        trees.append(feedback_json(found, judged, newlines))
    elif isinstance(found, Bounce):
        shown.append(render_bounce(found, newlines))
        trees.append(bounce_json(found, newlines))
    console = Console(width=100, soft_wrap=True, highlight=False)
    with console.capture() as text:
        console.print(*shown)
    assert text.get().replace("\n", "").isprintable()
    assert json.loads(json.dumps(trees, ensure_ascii=False).encode())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_file(file: Path) -> None:
    read_all(file.read_bytes())


def read_report(octets: bytes) -> None:
    """The processing of a file by `dmarc report`."""
    console = Console(width=100, soft_wrap=True, highlight=False)
    for report in read_reports(octets).reports:
        with console.capture() as text:
            console.print(render_report(report))
        assert text.get().replace("\n", "").isprintable()
        assert json.dumps(report_json(report), ensure_ascii=False).encode()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_file_is_taken_for_a_report_by_accident(file: Path) -> None:
    read_report(file.read_bytes())


def test_bent_reports(full_count: Callable[[int], int]) -> None:
    files = sorted(corpus("dmarc-reports").rglob("*"))
    samples = [file.read_bytes() for file in files if file.suffix in (".xml", ".eml")]
    samples += [gzip.compress(sample) for sample in samples[:4]]
    run(samples, full_count(CASES // 10), read_report, [b"<record>", b"<!DOCTYPE f>", b"&lt;", b"]]>", b"</feedback>"])


def test_bent_messages(full_count: Callable[[int], int]) -> None:
    samples = [file.read_bytes() for file in FILES]
    samples += [sample.text.encode() for sample in SAMPLES]
    samples += [file.read_bytes() for file in sorted(corpus("dmarc-reports/mail-auth/arf").glob("*.eml"))]
    samples += [
        file.read_bytes()
        for file in sorted((Path(__file__).parent.parent / "unit/diagnosis/headers/incidents").glob("*.eml"))
    ]
    run(samples, full_count(CASES // 4), read_all, WORDS)


HOSTILE = {
    "hops": b"Received: from a.example (b.example [192.0.2.1]) by c.example; x\r\n" * 30_000,
    "results": b"Authentication-Results: x; spf=fail smtp.mailfrom=a.example\r\n" * 30_000,
    "one long result": b"Authentication-Results: x" + b"; spf=fail (" * 100_000,
    "comments": b"Received: " + b"(" * 1_000_000,
    "parts": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n" * 100_000,
    "nested": b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(20_000)),
    "tags": b"From: postmaster@x.example\r\nContent-Type: text/html\r\n\r\n" + b"<style <" * 200_000,
    "addresses": b"From: mailer-daemon@x.example\r\n\r\nnot be delivered\r\n" + b"a@b.example:\r\n" * 100_000,
    "rows": b"Content-Type: message/delivery-status\r\n\r\n" + b"Final-Recipient: rfc822; a@b\r\n\r\n" * 50_000,
    "boundary": b'Content-Type: multipart/mixed; boundary="' + b"-" * 8000 + b'"\r\n\r\n' + b"\r\n--" * 200_000,
    "base64": b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n" + b"=A" * 500_000,
}


@pytest.mark.parametrize("octets", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_take_no_time(octets: bytes) -> None:
    started = process_time()
    read_all(octets)
    assert process_time() - started < 10
