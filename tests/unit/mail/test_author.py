"""The Author Domain: every text that a reader may take for the author's address is found."""

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
        ("(a@x.example) b@y.example", ["y.example"]),
        ("b@y.example (a@x.example)", ["y.example"]),
        ("b@(nested (a@x.example) \\) here)y.example", ["y.example"]),
        ("=?utf-8?q?a=40x=2Eexample?= <b@y.example>", ["y.example"]),
        ('"quoted \\\\" <b@y.example>', ["y.example"]),
        ("Doe, Jane <b@y.example>", ["y.example"]),
        ("Re: Jane <b@y.example>", ["y.example"]),
        ("b @ y . example", ["y.example"]),
        ("b@Y.Example.", ["y.example"]),
        ("b@bücher.example", ["xn--bcher-kva.example"]),
        ("\r\n Jane\r\n <b@y.example>", ["y.example"]),
        ("a@x.example, b@y.example, c@x.example", ["x.example", "y.example"]),
        ("a@x.example; b@y.example", ["x.example", "y.example"]),
        ("x [brackets] <b@y.example>", ["y.example"]),
        (", , b@y.example,", ["y.example"]),
        # Malformed so that readers may differ: each candidate is returned.
        ('"a\\"@x.example"@y.example', ["y.example", "x.example"]),
        ("b@y.example (c) d, e@z.example", ["y.example", "z.example", "y.exampled", "y.examplecd"]),
        ("b@y.example, c)", ["y.example"]),
        # mailparser joins what stands around a comment.
        (
            "a@x.example (n)via b@y.example",
            ["x.example", "y.example", "x.exampleviab", "x.examplevia", "x.examplenviab"],
        ),
        ('"a@x.ex"ample (c), b@y.example', ["y.example", "x.ex", "x.example", "x.examplec"]),
        ('"Bank\r\n a@x.example" <b@y.example>', ["y.example", "x.example"]),
        ('"Bank\r\n of X" <b@y.example>', ["y.example"]),
        ('b@y.example, "a@x.example" )<c@z.example>', ["y.example", "z.example", "x.example"]),
        ("b@y.example, =?utf-8?B?PGFAeC)5leGFtcGxlPg?=", ["y.example", "x.example"]),
        ("a@x.example <b@y.example>", ["y.example", "x.example"]),
        ("<@relay.example,@r2.example:b@y.example>", ["y.example", "relay.example", "r2.example"]),
        ("<b@y.example>a@x.example", ["y.example", "x.example"]),
        ("<b@y.example> (c) a@x.example", ["y.example", "x.example"]),
        ("Bank <b@y.example> via <a@x.example>", ["y.example", "x.example"]),
        ('"Bank" <b@y.example> "a@x.example"', ["y.example", "x.example"]),
        ("b@y.example, (a@x.example)", ["y.example", "x.example"]),
        ('b@y.example, "a@x.example"', ["y.example", "x.example"]),
        ("[a@x.example] <b@y.example>", ["y.example", "x.example"]),
        ("a\uff20x.example <b@y.example>,", ["y.example", "x.example"]),
        ("a@x.exam ple, b@y.example", ["x.exam", "y.example", "x.example"]),
        ("Sales @ Work <b@y.example>", ["y.example"]),
        ("=?utf-8?B?PGFAeC5leGFtcGxlPg==?=, b@y.example", ["y.example", "x.example"]),
        ("b@y.example, =?UTF-8*en?q?a=40x=2Eexample?=", ["y.example", "x.example"]),
        ("=?utf-8?B?PGFAeC5l?=\r\n =?utf-8?B?eGFtcGxlPg?=, b@y.example", ["y.example", "x.example", "x.e"]),
        ("a@=?utf-8?q?x.example?= =?utf-8?q?c?= <b@y.example>", ["y.example", "x.examplec", "x.example"]),
        ("=?iso-8859-1?Q?Bank_=3Ca=40x.example=3E?=; b@y.example", ["y.example", "x.example"]),
        ("=?utf-7?Q?a+AEA-x.example?=, b@y.example", ["y.example", "x.example"]),
        ("=?no-such?Q?a=40x.example?=, b@y.example", ["y.example", "x.example"]),
        ("<a@x.example> <b@y.example>", ["x.example", "y.example"]),
        ("<a@x.example@y.example>", ["x.example", "y.example"]),
        ("a@x.example b@y.example", ["x.example", "y.example", "x.exampleb"]),
        ('"unclosed <b@y.example>', ["y.example"]),
        ("(unclosed <b@y.example>", ["y.example"]),
        ("<b@y.example", ["y.example"]),
        ("group: a@x.example", ["x.example"]),
        ("<a@x.example, b@y.example>", ["x.example", "y.example"]),
    ],
)
def test_domains(value: str, domains: list[str]) -> None:
    author = _author(value)
    assert (author.fields, list(author.domains), author.reason) == (1, domains, "")


@pytest.mark.parametrize(
    ("value", "domains", "reason"),
    [
        ("", [], "no address in From"),
        ("Jane", [], "no address in From"),
        ("<>", [], "no address in From"),
        ("undisclosed:;", [], "group in From"),
        ("group: a@x.example, b@y.example;", ["x.example", "y.example"], "group in From"),
        ("group: a@x.example;, b@y.example", ["y.example", "x.example"], "group in From"),
        ("a@[192.0.2.1]", [], "address without a domain name in From"),
        ("a@", [], "address without a domain name in From"),
        ("a@x..example", [], "address without a domain name in From"),
        ("a@x..example, b@y.example", ["y.example"], "address without a domain name in From"),
        ("a@\x00x.example", ["x.example"], "address without a domain name in From"),
        ("a@\udcffx.example", ["x.example"], "address without a domain name in From"),
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
    author = _author(value)
    assert (author.fields, list(author.domains), author.reason) == (1, domains, reason)


@pytest.mark.parametrize(
    "value", ["=?utf-8?B?PGFAeC5leGFtcGxlPg==?=", "a\uff20x.example", "(a@x.example)", '"a@x.example"']
)
def test_an_address_that_only_some_see_is_no_author(value: str) -> None:
    assert _author(value) == Author(1, ("x.example",), "no address in From", 1)


HIDDEN = [
    "From\r\n : <a@x.example>",
    "From\r\n\t: <a@x.example>",
    "FROM \r\n  : <a@x.example>",
    "Fr\r\n om: <a@x.example>",
    "F rom: <a@x.example>",
    "\ufefffrom: <a@x.example>",
    "From\u00a0: <a@x.example>",
    "From\x00: <a@x.example>",
    "no field\r\n From: <a@x.example>",
    "From\r\n: <a@x.example>",
    ": nothing\r\n\tFrom : <a@x.example>",
]


@pytest.mark.parametrize("line", [*HIDDEN, " From: <a@x.example>", "\tfrom\t: <a@x.example>"])
def test_a_line_that_reads_as_from_counts_as_one(line: str) -> None:
    leading = line.startswith((" ", "\t"))
    before, after = ("", "From: b@y.example\r\n") if leading else ("From: b@y.example\r\n", "")
    both = find_author(parse_header(f"{before}{line}\r\n{after}Subject: s\r\n".encode()))
    assert (both.fields, both.domains) == (2, ("y.example", "x.example"))
    alone = find_author(parse_header(f"{'' if leading else 'To: c@z.example' + chr(13) + chr(10)}{line}\r\n".encode()))
    assert alone == Author(1, ("x.example",), "a line that is no From field reads as one")


@pytest.mark.parametrize(
    "above",
    [
        "Received: from a by b; now",
        "DKIM-Signature: v=1; b=AA==",
        "To: c@z.example,",
        "To: z;z=1",
        "Received: from a by b; z=1",
        "Content-Type: text/plain; z=1",
        "ARC-Seal: i=1; z=1",
        "DKIM-Signature: v=1; zz=1",
        "DKIM-Signature: v=1; z",
        "DKIM-Signature: v=1; z=1; b=AA==",
        "DKIM-Signature: v=1; z=\r\n\tFrom:c@z.example; b=AA==",
    ],
)
def test_a_from_below_a_field_that_was_put_on_top_counts(above: str) -> None:
    header = f"{above}\r\n\tFrom : =?utf-8?q?a?=\r\n <a@x.example>\r\nFrom: b@y.example\r\n"
    assert find_author(parse_header(header.encode())).fields == 2


@pytest.mark.parametrize(
    "header",
    [
        "DKIM-Signature: v=1; h=\r\n\tfrom:to:subject; b=AA==\r\n",
        "DKIM-Signature: v=1; z=\r\n\tFrom:a@x.example|To:c@z.example|\r\n\tSubject:s; b=AA==\r\n",
        "Subject: your mail\r\n From: a@x.example\r\n",
        "X-Report: as found\r\n From: a@x.example\r\n",
        "Resent-From: a@x.example\r\n",
        "no field\r\n",
    ],
)
def test_what_does_not_read_as_from_is_none(header: str) -> None:
    assert find_author(parse_header(header.encode() + b"From: b@y.example\r\n")) == Author(1, ("y.example",), "")


def test_domains_that_only_some_see_are_counted() -> None:
    assert _author("a@x.example, b@y.example").doubtful == 0
    assert _author("<b@y.example> a@x.example").doubtful == 1
    assert _author("b@y.example (c) Foo") == Author(1, ("y.example", "y.examplefoo", "y.examplecfoo"), "", 2)


def test_number_of_fields() -> None:
    assert find_author(()) == Author(0, (), "no From field")
    assert find_author(parse_header(b"Resent-From: a@x.example\r\n")).fields == 0
    assert _author("a@x.example", "b@y.example") == Author(2, ("x.example", "y.example"), "")
    assert _author('"unclosed', "b@y.example").domains == ("y.example",)
    assert find_author(parse_header(b"FROM : a@x.example\r\n")) == Author(1, ("x.example",), "")


@pytest.mark.parametrize(
    "piece",
    [
        '"',
        "[",
        "(",
        "\\",
        "<@:",
        "a@",
        '"\\',
        "[\\",
        "<",
        "<@a:",
        "(\\",
        '"a',
        "()",
        ":;",
        "a:",
        "a@é.x,",
        "é.",
        "=?utf-8?q?a?=",
        "=?utf-8?q?",
        "=?utf-7?q?+?=",
        "a@x @",
        "\\x00@",
        "\r\n From:",
    ],
)
def test_hostile_fields_cost_little(piece: str) -> None:
    header = parse_header(f"From: {piece * 100_000}\r\n".encode())

    def cost() -> float:
        started = time.process_time()
        find_author(header)
        return time.process_time() - started

    assert min(cost() for _ in range(3)) < 0.2, "the least of three: a busy machine makes single ones dearer"
