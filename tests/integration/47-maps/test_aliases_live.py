"""Aliases, dual delivery and return paths of mail to third parties, through the running gateway."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.gateway_process import Gateway, send
from tests.support.smtp_sink import Sink

pytestmark = pytest.mark.slow

OCTETS = b"From: a@sender.example\r\nSubject: one\r\n\r\nHello.\r\n"
BOUNCE = b"From: mailer@third.example\r\nAuto-Submitted: auto-replied\r\nSubject: failed\r\n\r\nNo.\r\n"


def configure(gateway: Gateway, out: Sink) -> None:
    (gateway.directory / "people.toml").write_text(
        '"info@corp.example" = "bob@corp.example"\n'
        '"both@corp.example" = ["google", "microsoft"]\n'
        '"away@corp.example" = "kim@third.example"\n'
    )
    gateway.settings = f"""
[routing]
maps = ["people.toml"]
outside = "out"
[srs]
domain = "corp.example"
secret = "0123456789abcdef"
[backend.out]
hosts = "{out.address}"
tls = "off"
"""


def submit(gateway: Gateway, sender: str, rcpt: str, octets: bytes) -> tuple[int, str]:
    with gateway.smtp() as client:
        return send(client, sender, [rcpt], octets)


async def wait_for_mail(sink: Sink, count: int) -> None:
    for _ in range(200):
        if len(sink.mails) >= count:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{len(sink.mails)} messages instead of {count}")


async def test_a_third_party_sees_a_return_path_of_ours_and_its_bounce_finds_the_author(gateway: Gateway) -> None:
    async with Sink() as out:
        configure(gateway, out)
        await asyncio.to_thread(gateway.start, False)
        code, _ = await asyncio.to_thread(submit, gateway, "author@sender.example", "away@corp.example", OCTETS)
        assert code == 250
        await wait_for_mail(out, 1)
        (mail,) = out.mails
        assert mail.content.endswith(OCTETS)
        assert "kim@third.example" in mail.rcpts[0]
        assert "ORCPT=rfc822;away@corp.example" in mail.rcpts[0]
        path = mail.mail.partition("<")[2].partition(">")[0]
        assert path.startswith("SRS0=")
        assert path.endswith("=sender.example=author@corp.example")

        code, text = await asyncio.to_thread(submit, gateway, "x@sender.example", path, OCTETS)
        assert (code, "takes bounces only" in text) == (550, True), "no relay for those who know an address"
        code, text = await asyncio.to_thread(submit, gateway, "", path.replace("author", "victim"), BOUNCE)
        assert (code, "No such mailbox" in text) == (550, True)
        code, text = await asyncio.to_thread(submit, gateway, "", path, BOUNCE)
        assert code == 250, text
        await wait_for_mail(out, 2)
        assert "FROM:<>" in out.mails[1].mail
        assert "author@sender.example" in out.mails[1].rcpts[0]


async def test_an_alias_and_both_backends(gateway: Gateway) -> None:
    async with Sink() as out:
        configure(gateway, out)
        await asyncio.to_thread(gateway.start)
        for rcpt in ("info+x@corp.example", "both@corp.example"):
            code, text = await asyncio.to_thread(submit, gateway, "a@sender.example", rcpt, OCTETS)
            assert code == 250, text
        google = await asyncio.to_thread(gateway.google.wait, 1)
        microsoft = await asyncio.to_thread(gateway.microsoft.wait, 2)
        assert [facts["rcpts"] for _, facts in google] == [["both@corp.example"]]
        assert sorted(str(facts["rcpts"]) for _, facts in microsoft) == [
            "['bob+x@corp.example']",
            "['both@corp.example']",
        ]
        assert {str(facts["mail_from"]) for _, facts in (*google, *microsoft)} == {"a@sender.example"}
        assert out.mails == []


def test_the_secret_must_be_long(gateway: Gateway, tmp_path: Path) -> None:
    gateway.settings = '[srs]\ndomain = "other.example"\nsecret = "short"\n'
    gateway.write_config()
    said = gateway.run("check", "--config", str(gateway.config_path)).stderr
    assert "srs.secret: is short enough to be guessed" in said
    gateway.settings = '[srs]\ndomain = "other.example"\nsecret = "long enough not to be guessed"\n'
    gateway.write_config()
    said = gateway.run("check", "--config", str(gateway.config_path)).stderr
    assert "srs.domain: other.example is not one of our domains" in said
