"""The Author Domain: nothing that a reader may take for the author's address goes unseen."""

from __future__ import annotations

import time

import pytest

from gateway.mail.author import Author, find_author
from gateway.mail.header import parse_header


def _author(*values: str) -> Author:
    return find_author(
        parse_header("".join(f"From: {value}\r\n" for value in values).encode("utf-8", "surrogateescape"))
    )


@pytest.mark.parametrize(
    ("value", "domains"),
    [
        ("a@x.example", ["x.example"]),
        ("<a@x.example>", ["x.example"]),
        ('"a@x.example" <b@y.example>', ["y.example"]),
        ("a@x.example <b@y.example>", ["y.example"]),
        ("(a@x.example) b@y.example", ["y.example"]),
        ("b@y.example (a@x.example)", ["y.example"]),
        ("b@(nested (a@x.example) \\) here)y.example", ["y.example"]),
        ("=?utf-8?q?a=40x=2Eexample?= <b@y.example>", ["y.example"]),
        ('"a\\"@x.example"@y.example', ["y.example"]),
        ('"quoted \\\\" <b@y.example>', ["y.example"]),
        ("Doe, Jane <b@y.example>", ["y.example"]),
        ("Re: Jane <b@y.example>", ["y.example"]),
        ("<@relay.example,@r2.example:b@y.example>", ["y.example"]),
        ("b @ y . example", ["y.example"]),
        ("b@Y.Example.", ["y.example"]),
        ("b@bücher.example", ["xn--bcher-kva.example"]),
        ("\r\n Jane\r\n <b@y.example>", ["y.example"]),
        ("a@x.example, b@y.example, c@x.example", ["x.example", "y.example"]),
        ("a@x.example; b@y.example", ["x.example", "y.example"]),
        ("x [brackets] <b@y.example>", ["y.example"]),
        (", , b@y.example,", ["y.example"]),
        # Malformed so that readers may differ: each candidate is given.
        ("<a@x.example> <b@y.example>", ["x.example", "y.example"]),
        ("<a@x.example@y.example>", ["x.example", "y.example"]),
        ("a@x.example b@y.example", ["x.example", "y.example"]),
        ('"unclosed <b@y.example>', ["y.example"]),
        ("(unclosed <b@y.example>", ["y.example"]),
        ("<b@y.example", ["y.example"]),
        ("group: a@x.example", ["x.example"]),
        ("<a@x.example, b@y.example>", ["x.example", "y.example"]),
    ],
)
def test_domains(value: str, domains: list[str]) -> None:
    assert _author(value) == Author(1, tuple(domains), "")


@pytest.mark.parametrize(
    ("value", "domains", "reason"),
    [
        ("", [], "no address in From"),
        ("Jane", [], "no address in From"),
        ("<>", [], "no address in From"),
        ("undisclosed:;", [], "group in From"),
        ("group: a@x.example, b@y.example;", [], "group in From"),
        ("group: a@x.example;, b@y.example", ["y.example"], "group in From"),
        ("a@[192.0.2.1]", [], "address without a domain name in From"),
        ("a@", [], "address without a domain name in From"),
        ("a@x..example", [], "address without a domain name in From"),
        ("a@x..example, b@y.example", ["y.example"], "address without a domain name in From"),
        ("a@\x00x.example", [], "address without a domain name in From"),
        ("a@\udcffx.example", [], "address without a domain name in From"),
        (
            ", ".join(f"a@d{n}.example" for n in range(6)),
            [f"d{n}.example" for n in range(5)],
            "more than 5 domains in From",
        ),
        ("a@x.example, " + " " * 20_000 + "b@y.example", ["x.example"], "From is too long"),
        (", ".join(f"a@[{n}]" for n in range(60)), [], "From is too long"),
    ],
)
def test_what_cannot_be_read_whole_says_so(value: str, domains: list[str], reason: str) -> None:
    assert _author(value) == Author(1, tuple(domains), reason)


def test_number_of_fields() -> None:
    assert find_author(()) == Author(0, (), "no From field")
    assert find_author(parse_header(b"Resent-From: a@x.example\r\n")).fields == 0
    assert _author("a@x.example", "b@y.example") == Author(2, ("x.example", "y.example"), "")
    assert _author('"unclosed', "b@y.example").domains == ("y.example",)
    assert find_author(parse_header(b"FROM : a@x.example\r\n")) == Author(1, ("x.example",), "")


@pytest.mark.parametrize(
    "piece",
    ['"', "[", "(", "\\", "<@:", "a@", '"\\', "[\\", "<", "<@a:", "(\\", '"a', "()", ":;", "a:", "a@é.x,", "é."],
)
def test_hostile_fields_cost_little(piece: str) -> None:
    header = parse_header(f"From: {piece * 100_000}\r\n".encode())

    def cost() -> float:
        started = time.process_time()
        find_author(header)
        return time.process_time() - started

    assert min(cost() for _ in range(3)) < 0.2, "the least of three: a busy machine makes single ones dearer"
