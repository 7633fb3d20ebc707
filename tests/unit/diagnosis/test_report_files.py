"""Reports as they arrive: broken XML, odd character sets and dates, archives of macOS; and the advice per source."""

from __future__ import annotations

import base64
import gzip
import io
import json
import time
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from gateway.cli import load_commands
from gateway.diagnosis.reports import texts
from gateway.diagnosis.reports.aggregate import AggregateReport
from gateway.diagnosis.reports.show import read_reports, render_reports, report_json
from tests.support.sentences import unsaid

HEAD = (
    "<report_metadata><org_name>judge.example</org_name><email>dmarc@judge.example</email><report_id>77</report_id>"
    "<error>part of the day is missing</error><date_range><begin>1795255200</begin><end>1795341599</end></date_range>"
    "</report_metadata><policy_published><domain>shop.example</domain><adkim>{adkim}</adkim><aspf>r</aspf><p>none</p>"
    "</policy_published>"
)


def row(
    source: str = "203.0.113.9", results: str = "", aligned: str = "<dkim>fail</dkim><spf>fail</spf>", reason: str = ""
) -> str:
    return (
        f"<record><row><source_ip>{source}</source_ip><count>2</count><policy_evaluated><disposition>none</disposition>"
        f"{aligned}{reason}</policy_evaluated></row><identifiers><header_from>shop.example</header_from></identifiers>"
        f"<auth_results>{results}</auth_results></record>"
    )


def dkim(domain: str, result: str, note: str = "") -> str:
    human = f"<human_result>{note}</human_result>" if note else ""
    return f"<dkim><domain>{domain}</domain><selector>k1</selector><result>{result}</result>{human}</dkim>"


def spf(domain: str, result: str) -> str:
    return f"<spf><domain>{domain}</domain><result>{result}</result></spf>"


def report(*rows: str, adkim: str = "r") -> bytes:
    return f"<feedback>{HEAD.format(adkim=adkim)}{''.join(rows or [row()])}</feedback>".encode()


def read(octets: bytes) -> AggregateReport:
    found = read_reports(octets, "file")
    assert found.refused == ()
    return found.reports[0]


def show(*files: tuple[str, bytes]) -> str:
    console = Console(width=200, soft_wrap=True, highlight=False)
    with console.capture() as shown:
        for name, octets in files:
            console.print(render_reports(read_reports(octets, name)))
    return shown.get()


def zipped(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, octets in members.items():
            archive.writestr(name, octets)
    return stream.getvalue()


def nameless() -> bytes:
    """An archive whose one member has no name."""
    octets = zipped(x=report())
    octets = octets.replace(b"\x01\x00\x00\x00x", b"\x00\x00\x00\x00")
    at = octets.index(b"PK\x03\x04")
    return octets[: at + 26] + b"\0\0" + octets[at + 28 : at + 30] + octets[at + 31 :]


def attached(octets: bytes, type: str = "application/octet-stream") -> bytes:
    head = "From: dmarc@judge.example\r\nContent-Type: multipart/mixed; boundary=cut\r\n\r\n--cut\r\n\r\nSee.\r\n--cut"
    part = f"Content-Type: {type}\r\nContent-Transfer-Encoding: base64\r\n\r\n".encode()
    return head.encode() + b"\r\n" + part + base64.encodebytes(octets).replace(b"\n", b"\r\n") + b"--cut--\r\n"


UTF16 = '<?xml version="1.0" encoding="utf-16"?>' + report().decode()
WHOLE = {
    "mac archive": zipped(**{"r.xml": report(), "__MACOSX/._r.xml": b"\0\5\26\7", ".DS_Store": b"\0\0\0\1Bud1"}),
    "report beside a note": zipped(**{"r.xml": report(), "readme.txt": b"Hello", "page.html": b"<html></html>"}),
    "utf-8 mark": b"\xef\xbb\xbf" + report(),
    "utf-8 mark and blank lines": b"\r\n \xef\xbb\xbf\r\n" + report(),
    "utf-16 little": b"\xff\xfe" + UTF16.encode("utf-16-le"),
    "utf-16 big": b"\xfe\xff" + UTF16.encode("utf-16-be"),
    "utf-16 without mark": UTF16.encode("utf-16-le"),
    "says utf-16 and is not": UTF16.encode(),
    "says latin-1": b'<?xml version="1.0" encoding="ISO-8859-1"?>'
    + report().replace(b"judge.ex", b"judge \xe9 .ex", 1),
    "attached without declaration": attached(report()),
    "attached with a mark": attached(b"\xef\xbb\xbf" + report()),
    "attached in utf-16": attached(b"\xff\xfe" + UTF16.encode("utf-16-le")),
    "attached with a prefix": attached(report().replace(b"feedback>", b"d:feedback>")),
}
BROKEN = {
    "ampersand": (b"judge.example</org", b"Judge & Sons</org"),
    "angle brackets": (b"<email>dmarc@judge.example<", b"<email><dmarc@judge.example><"),
    "end without its bracket": (b"77</report_id>", b"77/report_id>"),
    "schema never ended": (b"<feedback>", b"<feedback><xs:schema xmlns:xs='x'>"),
    "wrong end": (b"</row>", b"</rov>"),
    "control character": (b"part of", b"part\x01of"),
    "entity of HTML": (b"part of", b"part&nbsp;of"),
    "octets of no character set": (b"part of", b"part\x91of"),
    "unknown character set": (b"<feedback>", b'<?xml version="1.0" encoding="x-none"?><feedback>'),
}


@pytest.mark.parametrize("octets", WHOLE.values(), ids=WHOLE)
def test_forms_that_are_sound(octets: bytes) -> None:
    found = read(octets)
    assert (found.domain, found.repaired, [one.source for one in found.rows]) == (
        "shop.example",
        False,
        ["203.0.113.9"],
    )


@pytest.mark.parametrize(("old", "new"), BROKEN.values(), ids=BROKEN)
def test_what_is_broken_is_read_as_far_as_it_goes_and_said(old: bytes, new: bytes) -> None:
    octets = report()
    assert old in octets
    found = read(octets.replace(old, new, 1))
    assert (found.domain, found.id[:2], found.begin) == ("shop.example", "77", 1795255200)
    assert [(one.source, one.count, one.header_from) for one in found.rows] == [("203.0.113.9", 2, "shop.example")]
    assert found.repaired
    assert "The file is not sound XML" in show(("r.xml", octets.replace(old, new, 1)))


def test_a_member_without_name_is_read_or_refused_without_a_traceback() -> None:
    found = read_reports(nameless())
    assert found.reports or found.refused


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1795255200", 1795255200),
        ("1795255200.0", 1795255200),
        ("1795255200000", 1795255200),
        ("2026-11-21T10:00:00Z", 1795255200),
        ("2026-11-21T11:00:00+01:00", 1795255200),
        ("2026-11-21 10:00:00", 1795255200),
        ("20261121100000", 1795255200),
        ("20261121", 1795219200),
        ("2026-11-21", 1795219200),
        ("Sat, 21 Nov 2026 10:00:00 +0000", 1795255200),
        ("yesterday", None),
        ("", None),
    ],
)
def test_dates(text: str, moment: int | None) -> None:
    assert read(report().replace(b"1795255200", text.encode())).begin == moment


def advice(*results: str, **more: str) -> str:
    found = read(report(row(results="".join(results), **more)))
    rows = report_json(found)["rows"]
    assert isinstance(rows, list)
    assert isinstance(rows[0], dict)
    return json.dumps(rows[0]["advice"])


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([spf("shop.example", "fail")], "Nothing passed for shop.example"),
        ([spf("relay.example", "pass")], "203.0.113.9 is a forwarder or a service"),
        ([dkim("mailer.example", "pass"), spf("mailer.example", "pass")], "signs as mailer.example, not as shop"),
        ([dkim("shop-example.20230601.gappssmtp.com", "pass")], "Google Workspace signs with its own domain"),
        ([dkim("shop.onmicrosoft.com", "pass")], "Microsoft 365 signs with its own domain"),
        ([dkim("shop.example", "fail")], "signature of shop.example was broken on the way"),
        ([dkim("shop.example", "neutral", "body hash did not verify")], "was broken on the way"),
        ([dkim("shop.example", "permerror")], "waypost dkim check k1 shop.example"),
        ([spf("shop.example", "permerror")], "waypost spf check shop.example"),
        ([dkim("shop.example", "pass")], "the reporter's mistake"),
    ],
)
def test_advice_for_a_source(results: list[str], expected: str) -> None:
    assert expected in advice(*results)


def test_a_private_source_is_ignored_whatever_else_is_wrong() -> None:
    for source in ("10.1.2.3", "192.168.0.9", "fd00::1", "127.0.0.1"):
        said = advice(spf("shop.example", "fail"), source=source)
        assert "is a private address" in said
        assert "Nothing passed" not in said


def test_addresses_of_the_large_providers_are_named() -> None:
    assert "an address of Exchange Online" in advice(source="40.107.3.4")
    assert "an address of Google" in advice(source="209.85.220.41")


def test_the_from_domain_itself_is_never_called_another_domain() -> None:
    text = show(("r.xml", report(row(results=dkim("shop.example", "pass")))))
    assert "passed for the From domain itself" in text
    assert "another domain" not in text
    strict = show(("r.xml", report(row(results=dkim("news.shop.example", "pass")), adkim="s")))
    assert "adkim=s asks for exactly the From domain" in strict
    assert "Set adkim=r" in strict


def test_a_source_that_passes_by_spf_alone_should_sign() -> None:
    passing = "<dkim>fail</dkim><spf>pass</spf>"
    assert "SPF alone" in advice(spf("shop.example", "pass"), aligned=passing)
    both = "<dkim>pass</dkim><spf>pass</spf>"
    assert advice(spf("shop.example", "pass"), dkim("shop.example", "pass"), aligned=both) == "[]"


def test_many_files_and_a_folder_at_once(tmp_path: Path) -> None:
    (tmp_path / "day").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "day" / "one.xml").write_bytes(report())
    (tmp_path / "day" / "two.xml.gz").write_bytes(gzip.compress(report()))
    runner, commands = CliRunner(), load_commands(["dmarc"])
    done = runner.invoke(commands, ["dmarc", "report", str(tmp_path / "day"), "--json"])
    assert (done.exit_code, len(json.loads(done.stdout)["reports"])) == (0, 2)
    (tmp_path / "day" / "three.xml").write_bytes(b"not a report")
    done = runner.invoke(commands, ["dmarc", "report", str(tmp_path / "day")])
    assert done.exit_code == 1
    assert "2 reports: 4 messages failed, 0 passed" in done.stdout
    assert "three.xml is not shown: it is not XML" in done.stdout
    done = runner.invoke(commands, ["dmarc", "report", str(tmp_path / "empty")])
    assert (done.exit_code, texts.NO_FILES in done.stderr) == (1, True)


ARF = (
    b"From: a@judge.example\r\nContent-Type: multipart/report; boundary=b\r\n\r\n--b\r\n"
    b"Content-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\n--b--\r\n"
)
NESTED = zipped(a=zipped(b=zipped(c=zipped(d=zipped(e=report())))))
REFUSED = (
    *(
        b"plain text",
        b"{}",
        b"<x/>",
        report()[:-300],
        b"<!DOCTYPE x><feedback/>",
        b"<a>" * 40,
        b"<feedback></feedback>",
    ),
    *(b"\x1f\x8bxx", gzip.compress(report())[:-9], b"PK\x03\x04xx", zipped(**{"__MACOSX/x": b""}), NESTED, ARF),
    *(b"From: a@b.example\r\n\r\nhello\r\n", zipped(**{str(number): report() for number in range(21)})),
    gzip.compress(bytes(70_000_000), compresslevel=1),
    bytes(64_000_001),
    zipped(r=report()).replace(b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01"),
)


def test_every_sentence_is_said() -> None:
    cases = [
        row(results=spf("shop.example", "fail"), reason="<reason><type>local_policy</type></reason>"),
        row(results=spf("relay.example", "pass"), source="40.107.1.1"),
        row(results=dkim("mailer.example", "pass")),
        row(results=dkim("x.gappssmtp.com", "pass")),
        row(results=dkim("x.onmicrosoft.com", "pass")),
        row(results=dkim("shop.example", "fail")),
        row(results=dkim("shop.example", "temperror")),
        row(results=spf("shop.example", "permerror")),
        row(results=dkim("shop.example", "pass")),
        row(results=spf("mail.shop.example", "pass")),
        row(source="10.0.0.1"),
        row(reason="<reason><type>mailing_list</type></reason>"),
        row(results=spf("shop.example", "pass"), aligned="<dkim>fail</dkim><spf>pass</spf>"),
    ]
    said = [
        show(("r.xml", report(*cases))),
        show(("r.xml", report(row(results=dkim("m.shop.example", "pass")), adkim="s"))),
        show(("r.xml", report(*[row()] * 201).replace(b"judge.example</org", b"A & B</org"))),
        show(("r.xml", report(*cases).replace(b"judge.example</org", b"Caf\xe9</org"))),
        show(*((f"{number}", octets) for number, octets in enumerate(REFUSED))),
        show(("two.zip", zipped(a=report(), b=report()))),
        show(("many.zip", zipped(**{f"{at}": b"" for at in range(1001)})), ("many.gz", gzip.compress(b"") * 101)),
        show(("many.xml", b"<feedback>" + b"<record/>" * 200_001 + b"</feedback>")),
    ]
    assert [name for name in unsaid(texts, *said) if name != "NO_FILES"] == []


def packed(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, octets in members.items():
            archive.writestr(name, octets)
    return stream.getvalue()


def test_archives_in_an_archive_share_one_budget() -> None:
    """Each inner file is within the limit; all of them together are not."""
    inner = packed(**{f"{at}.xml": bytes(30_000_000) for at in range(2)})
    outer = packed(**{f"{at}.zip": inner for at in range(10)})
    tracemalloc.start()
    try:
        refused = read_reports(outer, "file").refused
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [one.reason for one in refused] == [texts.BOMB.format(most=64)]
    assert peak < 250_000_000


def test_archives_in_an_archive_have_a_bounded_number_of_files() -> None:
    inner = packed(**{f"{at}.xml": b"" for at in range(60)})
    refused = read_reports(packed(**{f"{at}.zip": inner for at in range(20)}), "file").refused
    assert [one.reason for one in refused] == [texts.MANY_FILES.format(most=1000)]


def test_an_archive_with_a_huge_directory_is_not_listed() -> None:
    refused = read_reports(packed(**{f"__MACOSX/{at}": b"" for at in range(5000)}), "file").refused
    assert [one.reason for one in refused] == [texts.MANY_FILES.format(most=1000)]


def test_gzip_of_many_members_is_refused() -> None:
    started = time.process_time()
    refused = read_reports(gzip.compress(b"") * 500_000, "file").refused
    assert [one.reason for one in refused] == [texts.MANY_GZIP.format(most=100)]
    assert time.process_time() - started < 2


def test_gzip_of_some_members_is_one_report() -> None:
    whole = report()
    assert read(gzip.compress(whole[:300]) + gzip.compress(b"") + gzip.compress(whole[300:])).domain == "shop.example"


@pytest.mark.parametrize("begin", ["<!--", "<?", "<![CDATA[", "<!-- <? <![CDATA["])
def test_sections_that_never_end_are_looked_for_once(begin: str) -> None:
    flawed = report().replace(b"judge.example</org", b"Judge & Sons</org")
    octets = f"<a>{begin * (1_000_000 // len(begin))}".encode() + flawed
    started = time.process_time()
    found = read_reports(octets, "file")
    assert time.process_time() - started < 5
    assert [one.domain for one in found.reports] == ["shop.example"]


@pytest.mark.parametrize("section", ["<!-- <org_name> -->", "<?php <org_name> ?>", "<![CDATA[ <org_name> ]]>"])
def test_sections_of_a_broken_document_hide_tags(section: str) -> None:
    found = read(report().replace(b"part of", f"& {section}".encode()))
    assert found.domain == "shop.example"


def test_a_reference_of_many_digits_is_no_fault() -> None:
    assert read(report().replace(b"part of", b"&#" + b"1" * 6000 + b"; & part")).domain == "shop.example"
