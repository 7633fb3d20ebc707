"""Changes found in real mail, each made to a signed message, found and proven; and every sentence once."""

from __future__ import annotations

import base64

import pytest
from rich.console import Console

from gateway.diagnosis.autopsy import texts
from gateway.diagnosis.autopsy.differences import find_differences
from gateway.diagnosis.autopsy.examination import Autopsy, examine
from gateway.diagnosis.autopsy.redaction import compose_report
from gateway.diagnosis.autopsy.rendering import render_autopsy
from gateway.diagnosis.autopsy.specimen import read_specimen
from gateway.model.dnsdata import Answer, Question
from tests.support.sentences import unsaid
from tests.support.signing import MESSAGE, NOW, key_record, sign, zone

KEYS = zone(key_record())
TYPE = "from:to:subject:date:references:content-type"
EXCHANGE = (
    b"Received: from a.example (192.0.2.1) by X.mail.protection.outlook.com (10.1.1.1) with Microsoft SMTP Server id 1;"
    b" Mon, 2 Nov 2026 10:00:02 +0000\r\n"
)
HEAD = b"From: Ann <ann@src.example>\r\nTo: bob@dst.example\r\nSubject: Hi\r\nDate: Mon, 2 Nov 2026 10:00:00 +0000\r\n"


def letter(body: bytes, *fields: bytes, **tags: str) -> bytes:
    return sign(HEAD + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body, **{"h": TYPE, **tags})


def swap(message: bytes, *pairs: tuple[bytes, bytes]) -> bytes:
    for old, new in pairs:
        assert old in message, old
        message = message.replace(old, new, 1)
    return message


def found(message: bytes, keys: dict[Question, Answer] = KEYS) -> Autopsy:
    return examine(message, keys, NOW)


def ids(result: Autopsy) -> set[str]:
    return {step.entry.id for step in result.steps}


def show(message: bytes, keys: dict[Question, Answer] = KEYS, original: bytes | None = None, work: int = 0) -> str:
    specimen = read_specimen("m.eml", message, raw=False)
    result = examine(specimen.message, keys, NOW, **({"work": work} if work else {}))  # type: ignore[arg-type]
    differences = None if original is None else find_differences(original, specimen.message)
    console = Console(width=300, soft_wrap=True, highlight=False)
    with console.capture() as shown:
        console.print(render_autopsy(result, specimen, differences))
    return shown.get() + compose_report(result, specimen)


NESTED = (
    b"--o\r\nContent-Type: multipart/alternative; boundary=i\r\n\r\n--i\r\nContent-Type: text/plain\r\n\r\nHello\r\n"
    b"--i--\r\n--o\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nAAEC\r\n--o--\r\n"
)
MIXED = b"Content-Type: multipart/mixed; boundary=o"


def test_fields_of_exchange_with_a_content_id_and_a_blank_line_together() -> None:
    sent = letter(NESTED, MIXED)
    added = b"X-Microsoft-Exchange-Diagnostics:\r\n\t1;AB;9:xy\r\nContent-ID: <4F@eurprd04.prod.outlook.com>\r\n"
    got = swap(sent, (b"--i--\r\n--o", b"--i--\r\n\r\n--o"), (b"pdf\r\nContent-T", b"pdf\r\n" + added + b"Content-T"))
    result = found(got)
    assert ids(result) == {"B01", "B04"}
    assert result.repaired == sent


HTML = b"<html><head></head><body><p>Caf\xc3\xa9</p></body></html>\r\n"
META = b'<meta http-equiv="Content-Type" content="text/html; charset=utf-8">'


@pytest.mark.parametrize("between", [b"", b"\r\n", b"\r\n  "])
@pytest.mark.parametrize("meta", [META, b'<meta charset="utf-8">'])
def test_a_meta_element_on_a_line_of_its_own(between: bytes, meta: bytes) -> None:
    sent = letter(HTML, b"Content-Type: text/html; charset=utf-8")
    result = found(swap(sent, (b"<head>", b"<head>" + between + meta)))
    assert (ids(result), result.repaired) == ({"B05"}, sent)


def test_a_long_field_without_blanks_that_was_cut() -> None:
    ids_of = b"".join(b"<%03d@src.example>" % number for number in range(80))
    sent = letter(b"Hello\r\n", b"References: " + ids_of)
    for places in ((900,), (500, 1000)):
        got = sent
        for at in reversed(places):
            start = got.index(b"References: ") + 12 + at
            start = got.index(b"><", start) + 1
            got = got[:start] + b"\r\n " + got[start:]
        result = found(got)
        assert (ids(result), result.repaired) == ({"H03"}, sent)
        assert "References" in show(got)
    assert texts.CHANGES["H03"] in show(got)


QUOTED = b"Caf=C3=A9 and more text =3D done\r\nsecond line\r\n"


def test_text_converted_to_base64() -> None:
    fields = b"Content-Type: text/plain; charset=utf-8", b"Content-Transfer-Encoding: quoted-printable"
    sent = letter(QUOTED, *fields)
    encoded = base64.encodebytes("Café and more text = done\r\nsecond line\r\n".encode()).replace(b"\n", b"\r\n")
    got = swap(sent, (QUOTED, encoded), (b"quoted-printable", b"base64"))
    result = found(got)
    assert (ids(result), result.repaired) == ({"B25"}, sent)
    assert texts.CHANGES["B25"] in show(got)
    plain = letter(b"Hello there\r\n", b"Content-Type: text/plain", b"Content-Transfer-Encoding: 7bit")
    got = swap(plain, (b"Hello there\r\n", base64.b64encode(b"Hello there\r\n") + b"\r\n"), (b"7bit", b"base64"))
    assert found(got).repaired == plain


def test_a_charset_converted_within_quoted_printable() -> None:
    latin = b"Caf=E9 for Ren=E9\r\n"
    fields = b"Content-Type: text/plain; charset=iso-8859-1", b"Content-Transfer-Encoding: quoted-printable"
    sent = letter(latin, *fields, h="from:to")
    got = swap(sent, (latin, b"Caf=C3=A9 for Ren=C3=A9\r\n"), (b"iso-8859-1", b"utf-8"))
    result = found(got)
    assert (ids(result), result.repaired) == ({"B23"}, sent)
    assert texts.CHANGES["B23"] in show(got)


def test_an_empty_part_that_lost_its_blank_line() -> None:
    body = b"--o\r\nContent-Type: text/plain\r\n\r\n\r\n--o\r\nContent-Type: text/html\r\n\r\n<p>x\r\n--o--\r\n"
    for empty in (body, body.replace(b"\r\n\r\n\r\n--o", b"\r\n\r\n--o")):
        sent = letter(empty, MIXED)
        got = sent.replace(b"plain\r\n\r\n\r\n--o", b"plain\r\n--o").replace(b"plain\r\n\r\n--o", b"plain\r\n--o")
        result = found(got)
        assert (ids(result), result.repaired) == ({"B26"}, sent)
        assert texts.CHANGES["B26"] in show(got)


def test_a_footer_behind_an_encoded_body_or_the_last_delimiter() -> None:
    encoded = base64.encodebytes(b"A text that is long enough for two lines of base64, and more.\r\n" * 2)
    fields = b"Content-Type: text/plain; charset=utf-8", b"Content-Transfer-Encoding: base64"
    sent = letter(encoded.replace(b"\n", b"\r\n"), *fields)
    footer = b"_______________\r\nlist footer https://lists.example/x\r\n"
    result = found(sent + footer)
    assert (ids(result), result.repaired) == ({"B09"}, sent)
    parts = letter(NESTED, MIXED)
    result = found(parts + footer)
    assert (ids(result), result.repaired) == ({"B09"}, parts)


def test_parameters_of_content_type_that_were_dropped() -> None:
    for signed in (b"text/plain; charset=utf-8; format=flowed", b"text/plain; format=flowed; charset=UTF-8"):
        sent = letter(b"Hello\r\n", b"Content-Type: " + signed)
        got = swap(EXCHANGE + sent, (b"Content-Type: " + signed, b'Content-Type: text/plain; charset="utf-8"'))
        result = found(got)
        assert ids(result) == {"H10"} or {one.entry.id for one in result.suspicions} == {"H10"}
    assert "Content-Type" in show(got)


@pytest.mark.parametrize(
    ("link", "id"),
    [
        (b"https://protect-eu.mimecast.com/s/AbCd?domain=b.example", "B21"),
        (b"https://url.uk.m.mimecastprotect.com/s/AbCd?domain=b.example", "B21"),
        (b"https://linkprotect.cudasvc.com/url?a=x", "B21"),
        (b"https://secure-web.cisco.com/1abc/https%3A%2F%2Fb.example", "B21"),
    ],
)
def test_links_that_cannot_be_restored_are_suspected(link: bytes, id: str) -> None:
    sent = letter(b'<a href="https://b.example/offer?x=1">go</a>\r\n', b"Content-Type: text/html")
    got = swap(sent, (b"https://b.example/offer?x=1", link))
    assert {one.entry.id for one in found(got).suspicions} == {id}
    assert "Suspected, not proven" in show(got)


def test_html_that_exchange_wrote_anew_is_suspected() -> None:
    sent = letter(HTML, b"Content-Type: text/html; charset=utf-8")
    got = swap(EXCHANGE + sent, (b"<head>", b"<head>\r\n" + META), (b"<p>", b'\r\n<p class="x">'))
    assert {one.entry.id for one in found(got).suspicions} == {"B27"}
    assert "wrote the HTML anew" in show(got)


def test_a_file_with_the_header_alone_is_called_that() -> None:
    sent = sign()
    alone = sent[: sent.index(b"\r\n\r\n") + 2]
    for octets in (alone, alone + b"\r\n", alone + b"\r\n\r\n\r\n"):
        result = found(octets)
        assert (result.bodiless, result.trials) == (True, 0)
        assert "the body is missing" in show(octets)
    assert not found(letter(b"")).bodiless


def test_the_simple_form_is_named_where_a_relaxed_one_would_have_lived() -> None:
    strict = sign(c="simple/simple")
    for change in ((b"Subject:", b"subject:"), (b"To: bob", b"To:  bob"), (b"question\r\n about", b"question about")):
        assert "c=simple for the header" in show(swap(strict, change))
    assert "c=simple for the body" in show(swap(strict, (b"how  are", b"how are")))
    assert "c=simple" not in show(swap(sign(), (b"bob@", b"bib@")))


def test_what_breaks_a_simple_signature_alone_is_told() -> None:
    strict = letter(b"how  are\r\n", c="simple/simple")
    for id, got in (
        ("B22", swap(strict, (b"how  are", b"how are"))),
        ("H13", swap(strict, (b"; c=", b";\r\n\tc="))),
    ):
        assert ids(found(got)) == {id}
        assert texts.CHANGES[id] in show(got)


def test_results_of_a_server_that_no_hop_names_prove_nothing() -> None:
    sent = EXCHANGE + letter(HTML, b"Content-Type: text/html; charset=utf-8")
    got = swap(sent, (b"<head>", b"<head>" + META))
    for server, believed in ((b"mx.evil.example", False), (b"x.mail.protection.outlook.com", True)):
        result = found(b"Authentication-Results: " + server + b"; dkim=pass header.d=src.example\r\n" + got)
        assert result.culprit is not None
        assert ("still verified" in " ".join(result.culprit.grounds)) is believed
    assert texts.HEARSAY in show(got)


ELSEWHERE = {
    *("NOT_REPAIRED", "REPAIRED", "REPORTED", "SAME_FILE", "EMPTY_FILE"),
    *("CLAIMS[sealed]", "CLAIMS[sealed broken]", "CLAIMS[converter]"),
}
"""Said in `test_command`, `test_hops` and the tests of poor input; each change in `test_mutations` or above."""


def test_every_sentence_of_the_text_is_said() -> None:
    footer = sign().rstrip(b"\r\n") + b"\r\n_______________\r\nlist footer\r\n"
    stuffed = letter(b"From a\r\nFrom b\r\nFrom c\r\nFrom d\r\nFrom e\r\nFrom f\r\n")
    expired = sign(t=str(int(NOW) - 20_000), x=str(int(NOW) - 10_000))
    long = sign().replace(b"Hello", b"Hallo\r\n1\r\n2\r\n3\r\n4\r\n5\r\n6")
    rows = b"".join(b"%d\r\nsame %d\r\n" % (number, number) for number in range(90))
    other = b"".join(b"%d x\r\nsame %d\r\n" % (number, number) for number in range(90))
    said = [
        show(MESSAGE),
        show(sign(), original=sign()),
        show(sign().replace(b"\r\n", b"\n")),
        show(sign() + b"bare\nline\r\n"),
        show(sign(), {}),
        show(sign().replace(b"d=src.example", b"d=")),
        show(expired),
        show(expired.rstrip(b"\r\n") + b"\r\n_______________\r\nlist footer\r\n"),
        show(footer),
        show(footer, {}),
        show(footer.replace(b"bob@", b"bib@")),
        show(sign().replace(b"bob@", b"bib@"), work=1),
        show(sign()[: sign().index(b"\r\n\r\n") + 2]),
        show(swap(sign(), (b"Subject: A", b"Subject: [list] A"))),
        show(swap(footer, (b"Subject: A", b"Subject: [list] A"))),
        show(
            stuffed.replace(b"From a", b">From a")
            .replace(b"\r\nFrom", b"\r\n>From")
            .replace(b"\r\n>From:", b"\r\nFrom:")
        ),
        show(letter(b"a -- b\r\n-- \r\nAnn\r\n", c="simple/simple").replace(b"-- \r\n", b"--\r\n")),
        show(swap(sign(c="simple/simple"), (b"Subject:", b"subject:"))),
        show(swap(sign(c="simple/simple"), (b"how  are", b"how was"))),
        show(
            EXCHANGE
            + letter(b'<a href="https://x.mimecast.com/s/x">', b"Content-Type: text/html").replace(b"<a", b"<b")
        ),
        show(long, original=sign()),
        show(letter(other), original=letter(rows)),
    ]
    said += [show(message) for message in _suspected()]
    missing = [name for name in unsaid(texts, *said) if name not in ELSEWHERE and not name.startswith("CHANGES[")]
    assert not missing, missing


def _suspected() -> list[bytes]:
    """One message for each ground of a suspicion, and for each claim about a hop."""
    page = letter(HTML, b"Content-Type: text/html; charset=utf-8")
    meta = swap(page, (b"<head>", b"<head>" + META))
    relayed = sign(HEAD + b"Message-ID: <1@src.example>\r\n\r\nHi\r\n", h="from:message-id:to:cc")
    alternative = letter(NESTED, MIXED, h="from:to")
    results = b"Authentication-Results: x.mail.protection.outlook.com; dkim=%s header.d=src.example\r\n"
    footer = b"_______________\r\nfooter\r\n"
    flowed = letter(b"a \r\nb\r\n", b"Content-Type: text/plain; format=flowed", c="relaxed/simple", h="from")
    typed = letter(b"x\r\n", b"Content-Type: text/plain; x=y; charset=utf-8")
    way = b"".join(
        b"Authentication-Results: %s; dkim=%s header.d=src.example\r\nReceived: from x by %s with ESMTP; x\r\n" % one
        for one in ((b"mx.b.example", b"fail", b"mx.b.example"), (b"mx.a.example", b"pass", b"mx.a.example"))
    )
    converted = b"X-MIME-Autoconverted: from 8bit to quoted-printable by mta.example id 1\r\n"
    return [
        alternative.replace(b"boundary=o", b"boundary=_004_AB12CD34EF_").replace(b"--o", b"--_004_AB12CD34EF_"),
        swap(flowed, (b"a \r\nb", b"a c\r\nd")),
        swap(letter(b"a b\r\n-- \r\nAnn\r\n", c="relaxed/simple", h="from"), (b"a b\r\n-- ", b"a c\r\n--")),
        swap(sign(), (b"Hello", b"The attachment was removed by policy. Hallo")),
        swap(sign(), (b"Hello", b"Hallo https://secure-web.cisco.com/x")),
        converted + swap(sign(), (b"Hello", b"Hallo")),
        swap(EXCHANGE + page, (b"<head>", b"<head>\r\n" + META), (b"<p>", b'\r\n<p class="x">')),
        swap(relayed, (b"To: bob", b"Bcc: bob")),
        swap(relayed, (b"<1@src.example>", b"<0100@email.amazonses.com>")),
        swap(b"List-Id: <x.example>\r\n" + sign(), (b"Ann <ann@src.example>", b"Ann <list@lists.example>")),
        swap(EXCHANGE + typed, (b"x=y; charset=utf-8", b'charset="utf-8"')),
        way + swap(sign(), (b"Hello", b"Hallo")),
        results % b"pass" + EXCHANGE + meta,
        results % b"fail" + EXCHANGE + meta,
        b"X-MS-Exchange-Organization-SCL: 1\r\n" + meta,
        b"List-Id: <talk.googlegroups.com>\r\n" + sign() + footer,
    ]
