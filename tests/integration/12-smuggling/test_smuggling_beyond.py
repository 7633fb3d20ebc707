"""The same streams through the gateway make no second message at a real Postfix or a real Exim behind it, whether it
refuses bare newlines or carries them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import mtas
from tests.support.gateway_process import Gateway
from tests.support.smuggling import by_chunks, by_data, sequences

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(mtas.missing()), reason=mtas.missing() or "-")]

SETTINGS = """
[[domain]]
name = "p.example"
backend = "postfix"
[[domain]]
name = "x.example"
backend = "exim"
[backend.postfix]
hosts = ["127.0.0.1:{postfix}"]
tls = "off"
[backend.exim]
hosts = ["127.0.0.1:{exim}"]
tls = "off"
"""
ZONE = {"b.example": {"TXT": ["v=spf1 ip4:127.0.0.1 -all"]}}


@pytest.fixture(params=["refuse", "carry"])
def beyond(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Gateway, mtas.Mta, mtas.Mta]]:
    with mtas.run_postfix() as postfix, mtas.run_exim() as exim:
        gateway = Gateway(tmp_path, SETTINGS.format(postfix=postfix.port, exim=exim.port), zone=ZONE)
        gateway.listener = f'bare_newline = "{request.param}"'
        gateway.start(backends=False)
        try:
            yield gateway, postfix, exim
        finally:
            gateway.stop()


def converse(port: int, stream: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 30) as client:
        answer = client.recv(1000)
        assert answer.startswith(b"220 ")
        client.sendall(stream)
        while part := client.recv(65536):
            answer += part
    return answer


def test_no_second_message_at_the_backend(beyond: tuple[Gateway, mtas.Mta, mtas.Mta]) -> None:
    gateway, postfix, exim = beyond
    for mta, rcpt in ((postfix, "r@p.example"), (exim, "r@x.example")):
        wanted: dict[str, int] = {}
        for number, (eod, ends) in enumerate(sequences()):
            for case, stream in (
                (f"d{number}", by_data(eod, rcpt, f"d{number}")),
                (f"b{number}", by_chunks(eod, rcpt, f"b{number}", len(eod) // 2)),
                (f"e{number}", by_chunks(eod, rcpt, f"e{number}", len(eod))),
            ):
                taken = converse(gateway.port, stream).count(b"250 2.0.0 Queued")
                assert taken <= (2 if ends and case.startswith("d") else 1), (eod, taken)
                if taken:
                    wanted[f"{case}@b.example"] = 1
                if taken == 2:
                    wanted["smuggled@b.example"] = wanted.get("smuggled@b.example", 0) + 1
        assert wanted.get("smuggled@b.example") == 1  # the one sequence that is the end of data
        # Those that are content and are taken: many more where bare newlines are carried.
        assert len(wanted) > (60 if "carry" in gateway.listener else 15)
        messages = mta.wait(sum(wanted.values()))
        found: dict[str, int] = {}
        for message in messages:
            sender = mtas.return_path(message)
            found[sender] = found.get(sender, 0) + 1
        assert found == wanted, mta.name
