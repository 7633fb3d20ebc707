"""Aggregate reports of both schemas in every kind of file; decompression bombs are refused without harm."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
import resource
import zipfile
from pathlib import Path
from time import process_time

import pytest
from rich.console import Console

from gateway.diagnosis.reports.aggregate import AggregateReport
from gateway.diagnosis.reports.show import read_reports, render_report, report_json
from tests.support.corpora import corpus

ROW = (
    "<record><row><source_ip>192.0.2.1</source_ip><count>3</count><policy_evaluated><disposition>reject</disposition>"
    "<dkim>fail</dkim><spf>fail</spf><reason><type>local_policy</type><comment>arc=pass</comment></reason>"
    "</policy_evaluated></row><identifiers><header_from>a.example</header_from></identifiers><auth_results><dkim>"
    "<domain>b.example</domain><selector>s</selector><result>pass</result></dkim><spf><domain>c.example</domain>"
    "<result>softfail</result></spf></auth_results></record>"
)
OLD = (
    '<?xml version="1.0"?><feedback><report_metadata><org_name>r.example</org_name><email>x@r.example</email>'
    "<report_id>1</report_id><date_range><begin>1795255200</begin><end>1795341599</end></date_range></report_metadata>"
    f"<policy_published><domain>a.example</domain><p>reject</p><pct>100</pct></policy_published>{ROW}"
    f"{ROW.replace('<dkim>fail</dkim>', '<dkim>pass</dkim>').replace('192.0.2.1', '192.0.2.2')}</feedback>"
).encode()
NEW = (
    OLD.replace(b"<feedback>", b'<feedback xmlns="urn:ietf:params:xml:ns:dmarc-2.0">')
    .replace(b"<pct>100</pct>", b"<testing>y</testing><discovery_method>treewalk</discovery_method>")
    .replace(b"<disposition>reject</disposition>", b"<disposition>pass</disposition>")
)


def zipped(*members: tuple[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, octets in members:
            archive.writestr(name, octets)
    return stream.getvalue()


def mailed(octets: bytes, type: str) -> bytes:
    head = f"From: x@r.example\r\nContent-Type: {type}; name=r\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    return head.encode() + base64.encodebytes(octets).replace(b"\n", b"\r\n")


def read(octets: bytes) -> list[AggregateReport]:
    found = read_reports(octets)
    assert found.refused == ()
    return list(found.reports)


def refusal(octets: bytes) -> str:
    found = read_reports(octets, "file")
    assert found.reports == ()
    return " ".join(one.reason for one in found.refused)


def show(report: AggregateReport) -> str:
    console = Console(width=100, soft_wrap=True, highlight=False)
    with console.capture() as shown:
        console.print(render_report(report))
    return shown.get()


WRAPPINGS = {
    "xml": OLD,
    "gzip": gzip.compress(OLD),
    "two gzip members": gzip.compress(OLD[:100]) + gzip.compress(OLD[100:]),
    "zip": zipped(("r.xml", OLD)),
    "zip of gzip": zipped(("r.xml.gz", gzip.compress(OLD))),
    "mail": mailed(gzip.compress(OLD), "application/gzip"),
    "mail of another type": mailed(zipped(("r.xml", OLD)), "application/octet-stream"),
    "mailbox file": b"From x@r.example Sat Nov 21 10:00:00 2026\n" + mailed(OLD, "text/xml"),
}


@pytest.mark.parametrize("octets", WRAPPINGS.values(), ids=WRAPPINGS)
def test_wrappings(octets: bytes) -> None:
    [report] = read(octets)
    assert (report.reporter, report.domain, report.schema) == ("r.example", "a.example", "RFC 7489")
    assert [row.passes for row in report.rows] == [False, True]


def test_the_new_schema() -> None:
    [report] = read(NEW)
    assert report.schema == "RFC 9990"
    assert dict(report.policy) == {"p": "reject", "testing": "y", "discovery_method": "treewalk"}
    assert report.rows[0].disposition == "pass"


def test_what_people_see() -> None:
    text = show(read(OLD)[0])
    assert text.startswith("DMARC report of r.example about a.example\n  from 2026-11-21 10:00:00 UTC to")
    assert "3 messages failed, 3 passed" in text
    assert "192.0.2.1  3 x  FAILED  disposition reject" in text
    assert "DKIM passed for another domain: b.example (selector s) pass" in text
    assert "SPF  fail: c.example softfail" in text
    assert "not as the policy asks: local_policy (arc=pass)" in text
    assert text.index("192.0.2.1 ") < text.index("192.0.2.2 ")
    assert "policy: p=reject pct=100" in text


def test_what_programs_see() -> None:
    tree = json.loads(json.dumps(report_json(read(OLD)[0])))
    assert tree["messages"] == {"pass": 3, "fail": 3}
    assert tree["rows"][0]["dkim_results"][0]["selector"] == "s"
    assert tree["rows"][0]["reasons"] == [{"type": "local_policy", "comment": "arc=pass"}]


LAUGHS = b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha">%s]><feedback>&z;</feedback>' % b"".join(
    b'<!ENTITY %c "%s">' % (98 + number, b"&%c;" % (97 + number) * 10) for number in range(25)
)
ENTITY = b'<?xml version="1.0"?><!DOCTYPE f [<!ENTITY x SYSTEM "file:///etc/passwd">]><feedback>&x;</feedback>'


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"", "it is not XML"),
        (b"hello", "it is not XML"),
        (b'{"organization-name": "x"}', "TLS reports"),
        (b"<html><body>no</body></html>", "begins with <html>"),
        (b"<feedback></feedback>", "none of the parts"),
        (OLD[:-200], "cut off"),
        (LAUGHS, "document type"),
        (ENTITY, "document type"),
        (b"<feedback>" + b"<a>" * 100_000, "deeper ones"),
        (gzip.compress(OLD)[:-20], "cut off"),
        (b"\x1f\x8bnonsense", "gzip file is damaged"),
        (b"PK\x03\x04nonsense", "zip file is damaged"),
        (zipped(*((f"{number}.xml", b"") for number in range(1001))), "more than 1000 files"),
        (zipped(("r.xml", b"<x/>")), "begins with <x>"),
        (b"From: a@b.example\r\n\r\nhello\r\n", "no report attached"),
        (
            b"From: a@b.example\r\nContent-Type: multipart/report; boundary=b\r\n\r\n--b\r\n"
            b"Content-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\n--b--\r\n",
            "waypost bounce",
        ),
    ],
)
def test_refusals(octets: bytes, reason: str) -> None:
    assert re.search(reason, refusal(octets))


def bomb(size: int) -> bytes:
    return gzip.compress(b"\0" * size, compresslevel=1)


@pytest.mark.parametrize(
    "octets",
    [
        bomb(200_000_000),
        gzip.compress(bomb(200_000_000)),
        zipped(("r.xml", b"\0" * 100_000_000)),
        zipped(("a.zip", zipped(("b.zip", zipped(("c.zip", zipped(("d.zip", zipped(("e.xml", OLD)))))))))),
    ],
    ids=["gzip", "gzip in gzip", "zip", "zip in zip in zip"],
)
def test_bombs_are_harmless(octets: bytes) -> None:
    started = process_time()
    assert re.search("no report is that large|packed in archives", refusal(octets))
    assert process_time() - started < 5


def test_a_zip_that_lies_about_its_size() -> None:
    octets = bytearray(zipped(("r.xml", b"\0" * 100_000_000)))
    at = octets.rindex(b"PK\x01\x02")
    octets[at + 24 : at + 28] = (100).to_bytes(4, "little")
    assert refusal(bytes(octets))


def test_many_records_stay_small() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    [report] = read(OLD.replace(ROW.encode(), ROW.encode() * 20_000))
    assert len(report.rows) == 20_001
    assert "more records: --json has all" in show(report)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150_000


REPORTS = sorted(
    file
    for file in corpus("dmarc-reports").rglob("*")
    if file.is_file() and (file.suffix in (".xml", ".eml") or file.parent.name == "smtp_tls")
)
REFUSED = {
    "exim_plain_text_only_no_arf_part.eml": "no report attached",
}


@pytest.mark.parametrize("file", REPORTS, ids=lambda file: file.name[:40])
def test_corpus(file: Path) -> None:
    octets = file.read_bytes()
    reason = REFUSED.get(file.name)
    if "tls" in file.parent.name:
        reason = "TLS reports"
    elif file.parent.name in ("arf", "failure"):
        reason = reason or "waypost bounce"
    if reason:
        assert reason in refusal(octets)
        return
    for report in read(octets):
        assert report.domain
        assert report.rows
        assert report.domain in show(report)
        assert json.dumps(report_json(report))


def test_the_corpus_expectations_hold() -> None:
    folder = corpus("dmarc-reports/mail-auth/dmarc-feedback")
    for expected in sorted(folder.glob("*.json")):
        source = next(file for file in (expected.with_suffix(".xml"), expected.with_suffix(".eml")) if file.exists())
        [report] = read(source.read_bytes())
        tree = json.loads(expected.read_text())
        assert report.id == tree["report_metadata"]["report_id"], source
        assert report.domain == tree["policy_published"]["domain"], source
        assert [row.count for row in report.rows] == [record["row"]["count"] for record in tree["record"]], source
        assert [row.source for row in report.rows] == [record["row"]["source_ip"] for record in tree["record"]], source
