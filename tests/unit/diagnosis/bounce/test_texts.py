"""Every sentence of the command occurs for some input, on the command line, as people run it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli import load_commands
from gateway.diagnosis.bounce import texts
from gateway.mail.refusal import Cause, Provider
from gateway.mail.refusal.advice import advise
from gateway.mail.refusal.signs import read_tables
from tests.support.bounces import SAMPLES, exim, postfix, report
from tests.unit.diagnosis.bounce.test_feedback import EDGE, INNER, arf, spf_failure
from tests.unit.diagnosis.bounce.test_logline import LINES
from tests.unit.diagnosis.bounce.test_parties import ACTIONS, EXO, NO_REPLY, RELAYED

HEAD = "MIME-Version: 1.0\nContent-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/feedback-report\n\n"
JMRP = (
    "From: staff@hotmail.com\nTo: abuse@author.example\nSubject: complaint about message from "
    "192.0.2.24\nMIME-Version: 1.0\n"
    "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\nX-HmXmrOriginalRecipient: "
    "bob@corp.example\nReceived: from out.author.example (192.0.2.24) by mx; Sat, 21 Nov 2026 10:00:00 +0000\nFrom: "
    "ann@author.example\nSubject: offer\n\nhello\n--b--\n"
)
FORENSIC = (
    "From: no-reply@gate.corp.example\nSubject: DMARC Forensic Report for author.example from IP "
    "192.0.2.24\n\nA message "
    "claiming to be from you has failed the published DMARC policy for your domain.\n\n  Sender Domain: "
    "author.example\n  "
    "Sender IP Address: 192.0.2.24\n  SPF Alignment: no\n  DKIM Alignment: no\n\n------ This is a copy of the "
    "headers that "
    "were received.\n\nFrom: x@author.example\n"
)
NOT_ALIGNED = (
    f"{HEAD}Feedback-Type: auth-failure\nAuth-Failure: dmarc\nReported-Domain: author.example\nSource-IP: 192.0.2.24\n"
    "Authentication-Results: mx.corp.example; dkim=pass header.d=crm.example; spf=pass "
    "smtp.mailfrom=b@mail.crm.example\n"
    "\n--b--\n"
)


def failure(kind: str) -> str:
    fields = f"Auth-Failure: {kind}\nReported-Domain: author.example\nSource-IP: 192.0.2.24\n"
    return f"{HEAD}Feedback-Type: auth-failure\n{fields}\n--b--\n"


FILES = [
    *(sample.text for sample in SAMPLES),
    *(text for text, *_ in ACTIONS.values()),
    *NO_REPLY.values(),
    *(report(reporter, "5.0.0", said, remote) for reporter, remote, said, *_ in RELAYED.values()),
    *(line for line, *_ in LINES.values()),
    "Content-Type: message/delivery-status\nFrom: MAILER-DAEMON@x.example\n\nReporting-MTA: dns; x.example\n\n",
    "Your message could not be delivered.\nbob@corp.example\nUnrouteable address\n",
    "Your message could not be delivered:\nUnrouteable address\n",
    report("out.author.example", "2.0.0", "", action="delivered"),
    report(EXO, "5.7.520", "550 5.7.520 Access denied"),
    report("out.author.example", "5.1.1", "550 5.1.1 User unknown"),
    report("x.example", "5.7.26", "550 DKIM = did not pass SPF [a.example] with ip: [192.0.2.1] = did not pass"),
    report("out.author.example", "5.7.515", "550 5.7.515 no. Spf= Pass , Dkim= Fail , DMARC= Pass", "mx.corp.example"),
    exim("Unrouteable address"),
    *(failure(kind) for kind in (*texts.FAILURES, "odd")),
    f"{HEAD}Feedback-Type: abuse\nUser-Agent: x/1\n\n--b--\n",
    f"{HEAD}Version: 1\n\n--b--\n",
    f"{HEAD}Feedback-Type: auth-failure\nAuth-Failure: spf\n\n--b--\n",
    JMRP,
    FORENSIC,
    NOT_ALIGNED,
    arf(spf_failure("2001:db8:f400::25"), INNER + EDGE).decode(),
]

MARKS = {Provider.GOOGLE: " x - gsmtp", Provider.MIMECAST: " https://community.mimecast.com"}


def run(*arguments: str, expect: int = 0) -> str:
    result = CliRunner().invoke(load_commands(["bounce"]), ["bounce", *arguments])
    assert result.exit_code == expect, result.output
    return result.output


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The whole output, white space as one blank."""
    folder = tmp_path_factory.mktemp("bounces")
    outputs = []
    for number, text in enumerate(FILES):
        file = folder / f"{number:03}.eml"
        file.write_text(text)
        outputs.append(run(str(file)))
    for table in read_tables():
        outputs += [run("--reply", sign.sample + MARKS.get(sign.provider, "")) for sign in table.signs]
    outputs += [run("--reply", "421 4.7.0 TLS required for RCPT domain x - gsmtp"), run("--reply", "250 ok")]
    (folder / "note.txt").write_text("just some words")
    outputs.append(run(str(folder / "note.txt"), expect=1))
    outputs.append(run(str(folder), expect=1))
    (folder / "empty").mkdir()
    outputs.append(run(str(folder / "empty"), expect=2))
    outputs += [run(expect=2), run(str(folder), "--reply", "550 no", expect=2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gateway.diagnosis.cli.bounce.read_file", refuse)
        outputs.append(run(str(folder), expect=1))
    return " ".join("\n".join(outputs).split())


def refuse(file: Path) -> bytes:
    raise PermissionError(13, "Permission denied", str(file))


def sentences() -> Iterator[tuple[str, str]]:
    for name, value in vars(texts).items():
        if name.isupper() and name != "EMPTY_REPLY":  # said in the tests of poor input
            pieces = value.values() if isinstance(value, dict) else (value,) if isinstance(value, str) else value
            yield from ((name, piece) for piece in pieces)


@pytest.mark.parametrize(("name", "sentence"), list(sentences()))
def test_each_sentence_is_said(name: str, sentence: str, said: str) -> None:
    pieces = (re.escape(piece) for piece in re.split(r"\{\w+\}", " ".join(sentence.split())))
    assert re.search(".+?".join(pieces), said)


@pytest.mark.parametrize("cause", Cause)
def test_each_advice_is_given(cause: Cause, said: str) -> None:
    advice = advise(cause, False)
    for sentence in (advice.summary, advice.admin, advice.never):
        assert sentence in said
    assert advice.sender in said or advice.waits


@pytest.mark.parametrize("cause", Cause)
def test_advice_reads_as_sentences(cause: Cause) -> None:
    advice = advise(cause, False)
    for text in (advice.summary, advice.admin, advice.sender, advice.never):
        assert text == text.strip()
        assert not text or (text[0].isupper() or text[0] == "`")
        assert not text or text.endswith(".")
        assert "{" not in text


def test_a_reply_has_the_json_of_a_file_with_one_recipient(tmp_path: Path) -> None:
    file = tmp_path / "one.eml"
    file.write_text(postfix("550 5.7.1 Relay access denied", "5.7.1", "mx.corp.example"))
    of_file = json.loads(run(str(file), "--json"))
    of_reply = json.loads(run("--reply", "550 5.7.1 Relay access denied", "--json"))
    assert set(of_file) == set(of_reply)
    [row], [other] = of_file["recipients"], of_reply["recipients"]
    assert set(row) == set(other)
    assert set(row["refusal"]) == set(other["refusal"])
    assert other["refusal"]["cause"] == "relay-denied"
    assert other["recipient"] is None


def test_a_folder_is_a_line_of_json_for_each_file(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.eml").write_text(postfix("550 5.1.1 User unknown", "5.1.1", "mx.corp.example"))
    (tmp_path / "2.eml").write_text(NOT_ALIGNED)
    (tmp_path / "3.txt").write_text("just some words")
    rows = [json.loads(line) for line in run(str(tmp_path), "--json", expect=1).splitlines()]
    assert [row["file"] for row in rows] == ["2.eml", "3.txt", "a/1.eml"]
    assert [row.get("kind") for row in rows] == ["feedback", None, "bounce"]
    assert rows[1]["error"] == texts.IS_NEITHER


def test_complaints_by_jmrp_and_reports_in_prose(tmp_path: Path) -> None:
    for text, kind, source in ((JMRP, "abuse", "192.0.2.24"), (FORENSIC, "auth-failure", "192.0.2.24")):
        file = tmp_path / "report.eml"
        file.write_text(text)
        tree = json.loads(run(str(file), "--json"))
        assert (tree["kind"], tree["type"], tree["source"]) == ("feedback", kind, source)


def test_a_service_that_is_not_aligned_is_told_to_sign_and_not_to_be_listed(tmp_path: Path) -> None:
    file = tmp_path / "report.eml"
    file.write_text(NOT_ALIGNED)
    shown = run(str(file))
    assert "for crm.example and mail.crm.example and not for author.example" in shown
    assert "list it in SPF" not in shown
