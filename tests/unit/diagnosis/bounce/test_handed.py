"""Bounces that were forwarded, pasted, quoted, in UTF-16 or saved by Outlook give the same result as the bounce
itself."""

from __future__ import annotations

import pytest

from gateway.diagnosis.bounce import Bounce, Bounced, decode, read_handed, read_reply
from gateway.diagnosis.bounce.arf import Feedback
from gateway.mail.refusal import Cause
from gateway.tools.results import read_lines
from tests.support.bounces import GMAIL_DMARC, exim, postfix, report
from tests.support.outlook import Folder, make_msg

NO_USER = "550 5.1.1 <bob@corp.example>: Recipient address rejected: User unknown"
NDR = postfix(NO_USER, "5.1.1", "mx.corp.example")
FIELDS = (
    "Reporting-MTA: dns; out.author.example\n\nFinal-Recipient: rfc822; bob@corp.example\nAction: "
    "failed\nStatus: 5.1.1\n"
    f"Remote-MTA: dns; mx.corp.example\nDiagnostic-Code: smtp; {NO_USER}\n"
)
FORWARDED = "From: user@author.example\nTo: help@author.example\nSubject: FW: Undelivered\nMIME-Version: 1.0\n"


def hand(octets: bytes) -> Bounce | Feedback | None:
    return read_handed(read_lines(decode(octets), raw=False)[0])


def only(octets: bytes) -> Bounced:
    found = hand(octets)
    assert isinstance(found, Bounce)
    [row] = found.recipients
    return row


def attach(type: str, body: str, more: str = "") -> str:
    return (
        f'{FORWARDED}Content-Type: multipart/mixed; boundary="o"\n\n--o\nContent-Type: text/plain\n\nplease look\n\n'
        f"--o\nContent-Type: {type}\n{more}\n{body}\n--o--\n"
    )


def quote(text: str, mark: str = "> ") -> str:
    return "".join(f"{mark}{line}\n" for line in text.splitlines())


SHAPES = {
    "itself": NDR,
    "attached": attach("message/rfc822", NDR),
    "attached as a file": attach(
        "application/octet-stream", NDR, 'Content-Disposition: attachment; filename="Undelivered.eml"\n'
    ),
    "attached twice": attach("message/rfc822", attach("message/rfc822", NDR)),
    "fields alone": FIELDS,
    "fields indented": quote(FIELDS, "    "),
    "fields quoted": quote(FIELDS),
    "fields quoted twice": quote(quote(FIELDS)),
    "fields with no-break spaces": FIELDS.replace(": ", ":\u00a0"),
    "fields in a mail": f"{FORWARDED}Content-Type: text/plain\n\nplease look\n\nBegin forwarded "
    f"message:\n\n{quote(FIELDS)}",
    "fields in one block": FIELDS.replace("\n\n", "\n"),
    "inline": f"{FORWARDED}\nplease look\n\n-----Original "
    f"Message-----\n{exim('host mx.corp.example [192.0.2.9]: ' + NO_USER)}",
    "quoted inline": f"{FORWARDED}\nplease look\n\n{quote(exim('host mx.corp.example [192.0.2.9]: ' + NO_USER))}",
    "prose": f"Your message to bob@corp.example could not be delivered.\nThe server said:\n{NO_USER}\n",
    "HTML pasted": f"<html><body><p>bob@corp.example</p><p>Remote Server returned '{NO_USER.replace('<', '&lt;')}'</p>",
    "a reply alone": NO_USER,
    "a boundary that was damaged": NDR.replace("\n--b\n", "\n--c\n"),
}


@pytest.mark.parametrize("text", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("charset", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_every_shape_reads_alike(text: str, charset: str) -> None:
    row = only(text.encode(charset))
    assert row.recipient == "bob@corp.example"
    assert row.refusal is not None
    assert row.refusal.cause is Cause.UNKNOWN_RECIPIENT
    assert row.refusal.quote.startswith("550 5.1.1 ")


@pytest.mark.parametrize("shape", ["attached", "fields in a mail", "a boundary that was damaged"])
def test_the_server_that_refused_is_named_in_every_shape(shape: str) -> None:
    row = only(SHAPES[shape].encode())
    assert row.refusal is not None
    assert row.refusal.refuser == "mx.corp.example"


def test_fields_that_were_not_folded_are_read_to_their_end() -> None:
    text = report("out.author.example", "5.7.26", GMAIL_DMARC.replace(" 550-5.7.26 ", "\n550-5.7.26 "), "mx.google.com")
    row = only(text.encode())
    assert row.refusal is not None
    assert row.refusal.cause is Cause.DMARC
    assert "DMARC policy" in row.refusal.quote


def test_the_transcript_tells_more_than_the_first_line_in_the_field() -> None:
    said = "550-5.7.1 Unauthenticated email from author.example is not accepted due to domain's"
    prose = (
        f"   ----- Transcript of session follows -----\n... while talking to mx.google.com.:\n>>> DATA\n<<< {said}\n"
        "<<< 550-5.7.1 DMARC policy.\n<<< 550 5.7.1 See the page. x - gsmtp\n554 5.0.0 Service unavailable\n"
    )
    row = only(report("out.author.example", "5.7.1", said, "mx.google.com", prose).encode())
    assert row.refusal is not None
    assert row.refusal.cause is Cause.DMARC
    assert row.refusal.quote.endswith("DMARC policy. See the page. x - gsmtp")


def test_a_message_that_outlook_saved_is_the_message() -> None:
    root = Folder({"007D001F": NDR[: NDR.index("\n\n")], "1000001F": f"<bob@corp.example>: host mx said: {NO_USER}"})
    row = only(make_msg(root))
    assert row.refusal is not None
    assert (row.recipient, row.refusal.cause) == ("bob@corp.example", Cause.UNKNOWN_RECIPIENT)


def test_a_report_that_outlook_made_of_a_bounce_is_read_by_its_recipients() -> None:
    """Outlook converts a report to properties of the recipients; the fields of RFC 3464 are lost."""
    people = {"__recip_version1.0_#00000000": Folder({"39FE001F": "bob@corp.example", "0C1B001F": NO_USER})}
    text = "Your message did not reach some or all of the intended recipients."
    row = only(make_msg(Folder({"0037001F": "Undeliverable: hello", "1001001F": text}, people)))
    assert row.refusal is not None
    assert (row.recipient, row.refusal.cause) == ("bob@corp.example", Cause.UNKNOWN_RECIPIENT)


def test_a_bounce_within_a_message_that_outlook_saved() -> None:
    inner = Folder({"007D001E": "From: MAILER-DAEMON@out.author.example\nSubject: failed", "1000001F": FIELDS * 40})
    attached = Folder({"370E001F": "message/rfc822"}, {"__substg1.0_3701000D": inner})
    root = Folder({"0037001F": "FW: failed", "1000001F": "please look"}, {"__attach_version1.0_#00000000": attached})
    found = hand(make_msg(root))
    assert isinstance(found, Bounce)
    assert {row.recipient for row in found.recipients} == {"bob@corp.example"}


@pytest.mark.parametrize("cut", [8, 76, 512, 1024, 1536, 2048])
def test_an_outlook_file_that_was_cut_off_raises_nothing(cut: int) -> None:
    whole = make_msg(Folder({"1000001F": FIELDS * 50}))
    hand(whole[:cut])
    hand(whole[:cut] + b"\xff" * 600 + whole[cut + 600 :])


def test_the_bounce_inside_a_notice_that_says_nothing() -> None:
    notice = (
        attach("message/rfc822", NDR)
        .replace("From: user@", "From: MAILER-DAEMON@")
        .replace(
            "please look", "The original message was received. The following addresses had permanent delivery errors."
        )
    )
    row = only(notice.encode())
    assert row.refusal is not None
    assert row.refusal.cause is Cause.UNKNOWN_RECIPIENT


@pytest.mark.parametrize(
    "text",
    [
        "From: ann@author.example\nSubject: lunch\n\nShall we? I can pay 550 euros.\n",
        "just some words",
        attach("message/rfc822", "From: ann@author.example\nSubject: lunch\n\nShall we?\n"),
    ],
)
def test_other_texts_are_no_bounce(text: str) -> None:
    assert hand(text.encode()) is None


LANGUAGES = {
    "de": ("Diese Nachricht wurde automatisch erstellt. Ihre Nachricht konnte nicht zugestellt werden:", NO_USER),
    "fr": ("Votre message n'a pas pu être remis au destinataire suivant :", "550 5.1.1 Destinataire inconnu"),
    "es": ("No se pudo entregar su mensaje a este destinatario:", "550 5.1.1 El usuario no existe"),
    "ja": ("次の宛先への配信に失敗しました。", "550 5.1.1 User unknown"),
    "de in words": ("Fehler bei der Übermittlung:", "Die E-Mail-Adresse des Empfängers wurde nicht gefunden."),
    "fr in words": ("Échec de la remise pour ce destinataire :", "L'adresse du destinataire est introuvable."),
    "es in words": ("Error de entrega a este destinatario:", "La dirección del destinatario no existe."),
    "ja in words": ("配信エラー", "宛先のメールアドレスが見つかりません。"),
}


@pytest.mark.parametrize(("prose", "said"), LANGUAGES.values(), ids=LANGUAGES)
def test_languages(prose: str, said: str) -> None:
    text = (
        "From: postmaster@corp.example\nTo: ann@author.example\nSubject: "
        "=?utf-8?b?6YWN5L+h5aSx5pWX?=\nMIME-Version: 1.0\n"
        f"Content-Type: text/plain; charset=utf-8\n\n{prose}\n\n<bob@corp.example>\n{said}\n"
    )
    row = only(text.encode())
    assert row.refusal is not None
    assert (row.recipient, row.action, row.refusal.cause) == ("bob@corp.example", "failed", Cause.UNKNOWN_RECIPIENT)


def test_a_reply_alone() -> None:
    [row] = read_reply("550 5.7.1 -> nobody").recipients
    assert (row.recipient, row.action, row.status) == ("", "failed", "5.7.1")
    [later] = read_reply("451 4.7.500 Server busy. Please try again later from [192.0.2.1]. (AS77719)").recipients
    assert later.refusal is not None
    assert (later.action, later.refusal.cause) == ("delayed", Cause.THROTTLED)
    [taken] = read_reply("250 2.0.0 OK").recipients
    assert (taken.action, taken.refusal) == ("delivered", None)


def test_an_enhanced_code_alone_is_quoted_as_it_stands() -> None:
    [row] = read_reply(
        "5.7.520 Access denied, your organization does not allow external forwarding. AS(7555)"
    ).recipients
    assert row.refusal is not None
    assert (row.refusal.cause, row.refusal.quote[:7]) == (Cause.AUTO_FORWARDING, "5.7.520")


def test_a_reply_that_stands_before_the_recipient_is_found() -> None:
    text = (
        "From: postmaster@gate.example\nSubject: Undeliverable Mail\n\nYour message could not be delivered "
        "because of\n\n"
        f"{NO_USER}\n\nThe following recipients were affected:\n\nbob@corp.example\n\nAdditional Information: "
        f"none at all\n"
    )
    row = only(text.encode())
    assert row.refusal is not None
    assert (row.recipient, row.refusal.cause) == ("bob@corp.example", Cause.UNKNOWN_RECIPIENT)


def test_what_follows_from_a_refusal_does_not_hide_it() -> None:
    transcript = (
        "... while talking to mx.corp.example.:\n>>> DATA\n<<< 550 5.7.1 Client host rejected: cannot find your "
        "hostname\n"
        "<<< 554 5.5.1 Error: no valid recipients\n"
    )
    row = only(report("out.author.example", "5.5.1", "", "mx.corp.example", transcript).encode())
    assert row.refusal is not None
    assert row.refusal.cause is Cause.REVERSE_DNS
