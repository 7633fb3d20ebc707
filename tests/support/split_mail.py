"""Incident 1 as files: a signed multipart, Exchange Online's change to it, and its header at Gmail."""

from __future__ import annotations

import functools

from tests.support.samples import sign

GAPS = (b"--one--\r\n--outer\r\n", b"--two--\r\n--outer\r\n", b"--three--\r\n--outer--\r\n")
"""Places where a blank line can appear between two boundary lines."""
DOMAIN = "sender.example"
_HEADER = (
    b"From: Ann <ann@sender.example>\r\nTo: Bob <bob@ours.example>\r\nSubject: Offer\r\n"
    b"Date: Sat, 21 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@sender.example>\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="outer"\r\n\r\n'
)
_AT_EXCHANGE = (
    b"Received: from AM0PR01CA0001.eurprd01.prod.exchangelabs.com (2603:10a6:208::1) by\r\n"
    b" DB9PR01MB0001.eurprd01.prod.exchangelabs.com (2603:10a6:10::2) with Microsoft SMTP\r\n"
    b" Server (version=TLS1_2, cipher=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384) id 15.20.8200.1;\r\n"
    b" Sat, 21 Nov 2026 12:00:04 +0000\r\n"
    b"Authentication-Results: spf=pass (sender IP is 192.0.2.10) smtp.mailfrom=sender.example; dkim=pass\r\n"
    b" (signature was verified) header.d=sender.example;dmarc=pass action=none\r\n"
    b" header.from=sender.example;compauth=pass reason=100\r\n"
    b"Received: from mail.sender.example (192.0.2.10) by\r\n"
    b" AM0PR01FT001.mail.protection.outlook.com (10.152.10.1) with Microsoft SMTP Server\r\n"
    b" (version=TLS1_3, cipher=TLS_AES_256_GCM_SHA384) id 15.20.8200.1 via Frontend Transport;\r\n"
    b" Sat, 21 Nov 2026 12:00:03 +0000\r\n"
)
_AT_GMAIL = (
    b"Authentication-Results: mx.google.com;\r\n"
    b"       dkim=neutral (body hash did not verify) header.i=@sender.example header.s=sel1;\r\n"
    b"       spf=fail smtp.mailfrom=ann@sender.example; dmarc=fail (p=REJECT) header.from=sender.example\r\n"
    b"Received: from EUR05-AM6-obe.outbound.protection.outlook.com (mail-am6eur05on2100.example. [192.0.2.99])\r\n"
    b"        by mx.google.com with ESMTPS id a1-20020a0000000000000000000001si1.1.2026.11.21.04.00.05\r\n"
    b"        for <bob@ours.example>;\r\n"
    b"        Sat, 21 Nov 2026 04:00:05 -0800 (PST)\r\n"
)


def unsigned_message(preamble: bytes = b"") -> bytes:
    """multipart/mixed with three nested multiparts, and no blank line between adjacent boundaries."""
    parts = b"".join(
        b'--outer\r\nContent-Type: multipart/alternative; boundary="%s"\r\n\r\n--%s\r\nContent-Type: text/plain\r\n\r\n'
        b"Text  of %s \r\n--%s\r\nContent-Type: text/html\r\n\r\n<p>%s</p>\r\n--%s--\r\n" % ((name,) * 6)
        for name in (b"one", b"two", b"three")
    )
    return _HEADER + preamble + parts + b"--outer--\r\n"


@functools.cache
def signed_message(preamble: bytes = b"") -> bytes:
    """The same octets each time, although a signature contains its time."""
    return sign(unsigned_message(preamble), DOMAIN)


def break_at(message: bytes, places: tuple[int, ...]) -> tuple[bytes, list[int]]:
    """The message with blank lines in those gaps, and the offset of each."""
    offsets = sorted(message.index(GAPS[number]) + GAPS[number].index(b"\r\n") + 2 for number in places)
    for offset in reversed(offsets):
        message = message[:offset] + b"\r\n" + message[offset:]
    return message, [offset + 2 * number for number, offset in enumerate(offsets)]


def through_exchange(message: bytes) -> bytes:
    """With the fields that Exchange Online and then Gmail put on top."""
    return _AT_GMAIL + _AT_EXCHANGE + message
