"""Invariant: we read every author domain that a mail program's library reads, or refuse the message.

Fields are put together from pieces of the grammar, well-formed and not. The readers are Python's `email` (both
policies), and four libraries of JavaScript: mailparser, postal-mime, addressparser and email-addresses.
"""

from __future__ import annotations

import base64
import email
import email.policy
from collections.abc import Iterator
from email.utils import getaddresses

import pytest

from gateway.mail.author import find_author
from gateway.mail.domain import a_label
from gateway.mail.header import parse_header
from tests.fuzz.plans import Plan, planned
from tests.peers.verifier import Readers

NAMES = (b"a@x.example", b"b@y.example", b"c@mail.z.example", b'"q@w.example"@v.example', b"d@\xc3\xbc.example")
WORDS = (
    b"=?utf-8?B?" + base64.b64encode(b"<e@enc.example>") + b"?=",
    b"=?utf-8?q?f=40enc2=2Eexample?=",
    b"=?iso-8859-1?Q?G_=3Cg=40enc3=2Eexample=3E?=",
    b"=?utf-8?Q?J=C3=BCrgen?=",
    b"=?utf-8?B?" + base64.b64encode(b'", <h@enc4.example>').rstrip(b"=") + b"?=",
    b"h@=?utf-8?q?enc5=2Eexample?=",
)
MARKS = (
    *(b"<", b">", b"(", b")", b'"', b"\\", b",", b";", b":", b"@", b"[", b"]", b".", b"?=", b"=?utf-8?q?", b"\x00"),
    *(b" ", b"\t", b"\r\n ", b"\xef\xbc\xa0", b"\xc2\xa0", b"\xe2\x80\x8b", b"\xff", b"via ", b"Bank ", b"g: "),
)
FORMS = (
    *(
        b"%b",
        b"<%b>",
        b"Name <%b>",
        b'"Name" <%b>',
        b"%b (name)",
        b"(note) %b",
        b'"%b" <b@y.example>',
        b"%b <b@y.example>",
    ),
    *(
        b"(%b) b@y.example",
        b"<b@y.example> %b",
        b"<b@y.example>%b",
        b"[%b] <b@y.example>",
        b"g: %b;",
        b"<@r.example:%b>",
    ),
)


def make_value(plan: Plan) -> bytes:
    parts = []
    for _ in range(1 + plan.number(4)):
        kind = plan.number(4)
        if kind == 0:
            parts.append(plan.pick(MARKS))
        else:
            parts.append(plan.pick(FORMS) % plan.pick(WORDS if kind == 1 else NAMES))
        parts.append(plan.pick((b"", b"", b", ", b" ", b";", b",")))
    value = bytearray(b"".join(parts))
    for _ in range(plan.number(3)):
        at = (plan.number(256) * 256 + plan.number(256)) % (len(value) + 1)
        if plan.number(3):
            value[at:at] = plan.pick(MARKS)
        else:
            del value[at : at + 1 + plan.number(4)]
    # A line break of another kind never reaches the judgement: such mail is refused at the door.
    return bytes(value).replace(b"\r\n ", b"\0\0").replace(b"\r", b"").replace(b"\n", b"").replace(b"\0\0", b"\r\n ")


def read_by_python(header: bytes) -> Iterator[tuple[str, str]]:
    plain = email.message_from_bytes(header + b"\r\n")
    for _, address in getaddresses([str(one) for one in plain.get_all("from", [])]):
        yield "email, compat32", address
    try:
        modern = email.message_from_bytes(header + b"\r\n", policy=email.policy.default)["from"]
        addresses = [one.addr_spec for one in modern.addresses]
    except Exception:
        return
    for address in addresses:
        yield "email, default", address


@pytest.fixture(scope="module")
def readers() -> Iterator[Readers]:
    with Readers() as found:
        yield found


@planned(most=40, share=10)
def test_no_reader_sees_another_author(readers: Readers, plan: Plan) -> None:
    header = b"From: " + make_value(plan) + b"\r\n"
    author = find_author(parse_header(header))
    if author.reason or author.fields != 1 or not author.domains:
        return
    seen = [*read_by_python(header), *readers.read(header)]
    for reader, address in seen:
        domain = a_label(address.rpartition("@")[2]) if "@" in address else None
        # A single label is nobody's domain: `Sales @ Work <a@x.example>`.
        if domain and "." in domain:
            assert domain in author.domains, (reader, address, author, header)
