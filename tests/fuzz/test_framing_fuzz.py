"""Invariant: however DATA is cut, it ends at the first CRLF.CRLF, and only the transport's dots are removed."""

from __future__ import annotations

from gateway.mail.octets import DataFraming, LoneDotScanner, OctetScanner
from tests.fuzz.plans import Plan, planned

PIECES = (b"\r", b"\n", b".", b"\r\n", b"\r\n.", b"\r\n..", b"\r\n.\r\n", b"\0", b"a", b"\xff", b"text " * 20)


def read_slowly(stream: bytes) -> tuple[bytes, bool, bytes]:
    """The rule itself, octet by octet (RFC 5321 section 4.5.2), with the whole stream in hand."""
    seen = b"\r\n" + stream
    end = seen.find(b"\r\n.\r\n")
    data, rest = (seen[: end + 2], seen[end + 5 :]) if end >= 0 else (seen, b"")
    content = bytearray()
    for at in range(2, len(data)):
        if not (data[at] == ord(".") and data[at - 2 : at] == b"\r\n"):
            content.append(data[at])
    return bytes(content), end >= 0, rest


@planned(share=2)
def test_chunks_do_not_matter(plan: Plan) -> None:
    stream = plan.join(PIECES, 40)
    framing = DataFraming()
    content = b"".join(framing.feed(chunk) for chunk in plan.cut(stream, 12))
    expected, done, rest = read_slowly(stream)
    assert framing.done is done
    assert framing.rest == rest
    if done:
        assert content == expected
    else:  # a possible start of the end is held back, and no more
        assert expected.startswith(content)
        assert len(expected) - len(content) <= 4


@planned(share=2)
def test_stuffing_is_undone(plan: Plan) -> None:
    content = plan.join(PIECES, 30) + b"\r\n"
    following = plan.join(PIECES, 8)
    wire = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n" + following
    framing = DataFraming()
    scanner = OctetScanner()
    found = b""
    for chunk in plan.cut(wire, 12):
        octets = framing.feed(chunk)
        scanner.update(octets)
        found += octets
    assert (found, framing.rest) == (content, following)
    bare = content.replace(b"\r\n", b"")
    assert scanner.size == len(content)
    assert scanner.bare_newline is (b"\r" in bare or b"\n" in bare or b"\0" in bare)
    assert scanner.leading_dot is (b"\r\n." in b"\r\n" + content)
    assert scanner.eight_bit is not content.isascii()


def _has_lone_dot(body: bytes) -> bool:
    """Each dot that begins a line and ends one, for some reader, and not both by CRLF."""
    for at in (at for at, octet in enumerate(body) if octet == ord(".")):
        before, after = body[:at], body[at + 1 :]
        crlfs = (before[-2:] in (b"", b"\r\n"), after.startswith(b"\r\n"))
        begins = crlfs[0] or before.endswith((b"\r", b"\n", b"\0"))
        ends = crlfs[1] or not after or after.startswith((b"\r", b"\n", b"\0"))
        if begins and ends and crlfs != (True, True):
            return True
    return False


@planned(60, share=2)
def test_a_lone_dot_is_found(plan: Plan) -> None:
    body = plan.join((b"\r", b"\n", b".", b"\r\n", b"\0", b"\r\n.\r\n", b"x"), 14)
    scanner = LoneDotScanner()
    for chunk in plan.cut(body, 6):
        scanner.update(chunk)
    assert scanner.found is _has_lone_dot(body)
