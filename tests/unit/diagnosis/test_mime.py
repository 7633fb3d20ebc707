"""MIME parts, read leniently."""

from __future__ import annotations

import pytest

from gateway.diagnosis.mime import read_mime

NESTED = (
    b"Content-Type: multipart/mixed; boundary=out\r\n\r\npreamble\r\n--out\r\n"
    b'Content-Type: multipart/alternative; boundary="in=1"\r\n\r\n--in=1\r\n\r\none\r\n--in=1\r\n'
    b"Content-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nt=E9 =\r\nx\r\n"
    b"--in=1--\r\n--out\r\nContent-Type: message/rfc822\r\n\r\nSubject: s\r\n\r\nbody\r\n--out--\r\nepilogue"
)


def test_nested_parts() -> None:
    message = read_mime(NESTED)
    assert [part.type for part in message.walk()] == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "text/html",
        "message/rfc822",
    ]
    html = message.find("text/html")
    assert html is not None
    assert html.text() == "té x"
    assert message.find("text/calendar") is None


def test_a_boundary_with_a_mark_that_is_not_quoted() -> None:
    message = read_mime(b"Content-Type: multipart/mixed; boundary=--=_a=b\r\n\r\n----=_a=b\r\n\r\nx\r\n----=_a=b--\r\n")
    assert [part.body for part in message.children] == [b"x"]


def test_a_part_that_is_not_closed() -> None:
    message = read_mime(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nall the rest")
    assert [part.body for part in message.children] == [b"all the rest"]


@pytest.mark.parametrize(
    ("body", "octets"),
    [(b"aGVsbG8=", b"hello"), (b"aGVs\r\nbG8", b"hello"), (b"a!G!Vsb*G8", b"hello"), (b"", b"")],
)
def test_base64(body: bytes, octets: bytes) -> None:
    assert read_mime(b"Content-Transfer-Encoding: BASE64\r\n\r\n" + body).octets() == octets


@pytest.mark.parametrize("charset", ["utf-8", "x-unknown", "idna", "base64", "latin-1", "utf-16"])
def test_any_character_set(charset: str) -> None:
    assert read_mime(f"Content-Type: text/plain; charset={charset}\r\n\r\nab".encode()).text()


def test_bounds() -> None:
    many = read_mime(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 1000)
    assert len(many.children) < 300
