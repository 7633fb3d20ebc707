"""Invariant: any text is a path or none, never an exception; a path's mailbox repeats the text in the brackets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.path import mailbox, parse_path
from tests.fuzz.plans import Plan, planned

PIECES = tuple(
    piece.encode("utf-8", "surrogateescape")
    for piece in (
        *'<>@:,.-[]"\\ =aü\0\u2028\udcff\u3002\u200d',
        "\r\n",
        "B.c",
        "IPv6:::1",
        "192.0.2.1",
        "postmaster",
        "b.example",
        "SIZE=1",
        "xn--a",
    )
)


def text(plan: Plan, most: int) -> str:
    return plan.join(PIECES, most).decode("utf-8", "surrogateescape")


def check(keyword: str, argument: str) -> None:
    parsed = parse_path(argument, keyword)
    if parsed is None:
        return
    assert all(key.isascii() and key == key.upper() for key in parsed.parameters)
    assert not any(character in value for value in parsed.parameters.values() for character in " =\r\n\0")
    if parsed.mailbox is None:
        assert keyword == "FROM"
        assert "<>" in argument
        return
    written = str(parsed.mailbox)
    assert f"{written}>" in argument or f"{written}.>" in argument
    assert written.isascii() is not parsed.wide
    assert not any(ord(character) < 32 or ord(character) == 127 for character in written)
    written.encode()  # no lone surrogates: it can be sent on
    if not parsed.mailbox.domain:  # `<postmaster>`, RFC 5321 section 4.5.1
        assert keyword == "TO"
        assert written.lower() == "postmaster"
    else:
        assert mailbox(written) == parsed.mailbox
        assert parsed.mailbox.ascii_domain.isascii()


@planned(share=2)
def test_any_argument(plan: Plan) -> None:
    check(plan.pick(("FROM", "TO")), text(plan, 25))


@planned(share=2)
def test_any_path_and_parameters(plan: Plan) -> None:
    keyword, path, parameters = plan.pick(("FROM", "TO")), text(plan, 8), text(plan, 8)
    check(keyword, f"{keyword}:<{path}>{parameters}")
    check(keyword, f"{keyword}:<{path}@b.example> {parameters}")
    check(keyword, f"{keyword}:<a@{path}>")


@given(
    st.from_regex(r'[a-z.!+=-]{1,20}|"[a-z @<>]{0,10}"', fullmatch=True), st.sampled_from(["b.example", "[192.0.2.1]"])
)
def test_a_valid_mailbox_is_read(local: str, domain: str) -> None:
    parsed = parse_path(f"TO:<{local}@{domain}> NOTIFY=NEVER", "TO")
    assert parsed is not None
    assert parsed.mailbox is not None
    assert (parsed.mailbox.local, parsed.mailbox.domain) == (local, domain)
    assert parsed.parameters == {"NOTIFY": "NEVER"}
