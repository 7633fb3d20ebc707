"""`waypost send-sample`: sends samples through the running demo, and checks the result of each."""

from __future__ import annotations

import os
import smtplib
import ssl
import sys
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gateway.demo.layout import MAILBOXES, Layout, NotRunning, State
from gateway.demo.messages import Sample, make_samples
from gateway.mail.header import parse_header
from gateway.model.reply import Reply

KINDS = ("signed", "spoof", "plain")
_HELO = "mail.sender.example"
_SECONDS = 20.0
"""Seconds that a delivery may take."""


def send_samples(root: Path, kind: str = "all") -> int:
    """Send the samples of this kind to the demo below `root`. 0 when each had its expected result, else 1. Raises
    ValueError for an unknown kind."""
    if kind != "all" and kind not in KINDS:
        raise ValueError(f"there is no sample of kind {kind!r}: write one of {', '.join(KINDS)}, all")
    layout = Layout(root.absolute())
    try:
        state = State.read(layout)
        key = load_pem_private_key(layout.signing_key.read_bytes(), None)
    except (NotRunning, OSError) as error:
        print(f"send-sample: {error}", file=sys.stderr)
        return 1
    if not isinstance(key, RSAPrivateKey):
        raise TypeError("the demo's signing key is RSA")
    samples = make_samples(key, time.time(), os.urandom(8).hex())
    ended_well = [_try(sample, layout, state.port) for sample in samples if kind in ("all", sample.kind)]
    return 0 if all(ended_well) else 1


def _try(sample: Sample, layout: Layout, port: int) -> bool:
    """Send one sample and report the result."""
    print(f"{sample.kind}: from <{sample.mail_from}> to {', '.join(sample.rcpts)}")
    print(f"  expected  {sample.expected}")
    try:
        reply = _send(sample, layout, port)
    except (OSError, smtplib.SMTPException) as error:
        print(f"  FAILED    the gateway cannot be talked to: {error}\n")
        return False
    print(f"  reply     {reply}")
    problems = _check_delivered(sample, reply, layout) if sample.accepted else _check_refused(sample, reply, layout)
    for problem in problems:
        print(f"  FAILED    {problem}")
    if not problems:
        print("  ok")
    print(flush=True)
    return not problems


def _send(sample: Sample, layout: Layout, port: int) -> Reply:
    """One transaction under TLS; the reply to the final dot, or an earlier refusal."""
    context = ssl.create_default_context(cafile=layout.ca_file)
    with smtplib.SMTP("127.0.0.1", port, local_hostname=_HELO, timeout=60) as client:
        client.starttls(context=context)
        client.ehlo()
        options = () if sample.octets.isascii() else ("BODY=8BITMIME",)
        code, text = client.mail(sample.mail_from, options)
        for rcpt in sample.rcpts:
            if code == 250:
                code, text = client.rcpt(rcpt)
        if code == 250:
            code, text = client.data(sample.octets)
    return Reply.received(code, text.decode("utf-8", "replace"))


def _check_delivered(sample: Sample, reply: Reply, layout: Layout) -> list[str]:
    """The faults, if any, of a message that should have arrived unchanged."""
    if reply.code != 250:
        return ["it should have been accepted"]
    problems = []
    for rcpt in sample.rcpts:
        backend = MAILBOXES[rcpt]
        found = _wait_for(sample, layout.inbox(backend))
        if found is None:
            problems.append(f"{backend} has not got it octet for octet in {_SECONDS:.0f} s")
            continue
        above = found.read_bytes()[: -len(sample.octets)]
        names = [field.name for field in parse_header(above)]
        print(f"  arrived   {found}")
        print(f"  identical below {', '.join(names)}")
        if not above.isascii() or "Received" not in names:
            problems.append("the fields put above are not as they should be")
        if sample.kind == "signed" and not (b"dkim=pass" in above and b"dmarc=pass" in above):
            problems.append("Authentication-Results does not say dkim=pass and dmarc=pass")
    return problems


def _check_refused(sample: Sample, reply: Reply, layout: Layout) -> list[str]:
    problems = []
    if reply.code != 550 or "DMARC" not in reply.text:
        problems.append("it should have been refused with 550 and the word DMARC")
    if any(_find(sample, layout.inbox(backend)) for backend in MAILBOXES.values()):
        problems.append("it was delivered all the same")
    return problems


def _wait_for(sample: Sample, inbox: Path) -> Path | None:
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        found = _find(sample, inbox)
        if found:
            return found
        time.sleep(0.1)
    return None


def _find(sample: Sample, inbox: Path) -> Path | None:
    """The transaction that ends in exactly the sample's octets; its Message-ID distinguishes it from those of earlier
    runs."""
    return next((path for path in sorted(inbox.glob("*.eml")) if path.read_bytes().endswith(sample.octets)), None)
