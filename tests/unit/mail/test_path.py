"""Paths and parameters of MAIL and RCPT."""

from __future__ import annotations

import time

import pytest

from gateway.mail.path import ParsedPath, mailbox, parse_path, replace_path
from gateway.model.envelope import Mailbox


def box(local: str, domain: str, ascii_domain: str | None = None) -> Mailbox:
    return Mailbox(local, domain, ascii_domain or domain)


PATHS = {
    "FROM:<a@b.example>": box("a", "b.example"),
    "from: <a@b.example>": box("a", "b.example"),
    "FROM:\t \t<a@b.example>": box("a", "b.example"),
    "FROM:<a@b.example.>": box("a", "b.example"),
    "FROM:<ü@bücher.example.>": box("ü", "bücher.example", "xn--bcher-kva.example"),
    "FROM:<A.b+c=d@B.Example>": box("A.b+c=d", "B.Example", "b.example"),
    "FROM:<>": None,
    'FROM:<"a b"@b.example>': box('"a b"', "b.example"),
    'FROM:<"a\\"@\\\\>"@b.example>': box('"a\\"@\\\\>"', "b.example"),
    'FROM:<""@b.example>': box('""', "b.example"),
    "FROM:<a..b.@b.example>": box("a..b.", "b.example"),
    "FROM:<!#$%&'*+-/=?^_`{|}~@b.example>": box("!#$%&'*+-/=?^_`{|}~", "b.example"),
    "FROM:<a@localhost>": box("a", "localhost"),
    "FROM:<a@_x.b.example>": box("a", "_x.b.example"),
    "FROM:<a@b--c.example>": box("a", "b--c.example"),
    "FROM:<@r1.example,@[192.0.2.1],@[IPv6:2001:db8::1]:a@b.example>": box("a", "b.example"),
    "FROM:<a@[192.0.2.1]>": box("a", "[192.0.2.1]"),
    "FROM:<a@[IPv6:2001:db8::1]>": box("a", "[IPv6:2001:db8::1]"),
    "FROM:<a@[ipv6:::ffff:192.0.2.1]>": box("a", "[ipv6:::ffff:192.0.2.1]"),
    "FROM:<ü@bücher.example>": box("ü", "bücher.example", "xn--bcher-kva.example"),
    "FROM:<用户@例子.测试>": box("用户", "例子.测试", "xn--fsqu00a.xn--0zwm56d"),
    "FROM:<" + "x" * 255 + "@b.example>": box("x" * 255, "b.example"),
    "FROM:<a@" + "x" * 63 + ".example>": box("a", "x" * 63 + ".example"),
    "FROM:<postmaster@b.example>": box("postmaster", "b.example"),
    "TO:<postmaster>": Mailbox("postmaster", "", ""),
    "TO:<PostMaster>": Mailbox("PostMaster", "", ""),
}


@pytest.mark.parametrize("argument", PATHS)
def test_paths(argument: str) -> None:
    assert parse_path(argument, argument.partition(":")[0].upper()) == ParsedPath(PATHS[argument], {})


NO_PATHS = [
    "",
    "<a@b.example>",
    "FROM",
    "FROM:",
    "FROM <a@b.example>",
    "FROM:a@b.example",
    "FROM:<a@b.example",
    "FROM:a@b.example>",
    "FROM:<<a@b.example>>",
    "FROM:<a@b.example>x",
    "FROM:<a@b.example>SIZE=1",
    "FROM:<a>",
    "FROM:<postmaster>",
    "FROM:<@b.example>",
    "FROM:<a@>",
    "FROM:<a@@b.example>",
    "FROM:<a b@c.example>",
    "FROM:< a@b.example>",
    "FROM:<a@b.example >",
    "FROM:<a@b..example>",
    "FROM:<a@b.example..>",
    "FROM:<a@.>",
    "FROM:<a@.b.example>",
    "FROM:<a@-b.example>",
    "FROM:<a@b-.example>",
    "FROM:<a@b.example->",
    "FROM:<a@b example>",
    "FROM:<a@b!c>",
    "FROM:<(c)a@b.example>",
    "FROM:<a@[192.0.2.1>",
    "FROM:<a@[192.0.2.256]>",
    "FROM:<a@[192.0.2.01]>",
    "FROM:<a@[2001:db8::1]>",
    "FROM:<a@[IPv6:192.0.2.1]>",
    "FROM:<a@[x]>",
    'FROM:<"a@b.example>',
    'FROM:<"a"b@b.example>',
    'FROM:<"a\\"@b.example>',
    'FROM:<"a\tb"@b.example>',
    "FROM:<@r.example a@b.example>",
    "FROM:<@r.example,a@b.example>",
    "FROM:<a\0@b.example>",
    "FROM:<a\r\n@b.example>",
    "FROM:<a\u0085@b.example>",
    "FROM:<a\u2028@b.example>",
    "FROM:<\udcff@b.example>",
    "FROM:<a@\udcff.example>",
    "FROM:<" + "x" * 256 + "@b.example>",
    "FROM:<" + "ü" * 128 + "@b.example>",
    "FROM:<a@" + "x" * 64 + ".example>",
    "FROM:<a@" + "x." * 130 + "example>",
    "TO:<>",
    "TO:<postmast\u0435r>",
    "TO:<po\u017ftmaster>",
]


@pytest.mark.parametrize("argument", NO_PATHS)
def test_no_paths(argument: str) -> None:
    assert parse_path(argument, "TO" if argument.startswith("TO") else "FROM") is None


BARE = {
    "FROM:a@b.example": box("a", "b.example"),
    "FROM:\ta@b.example.": box("a", "b.example"),
    'FROM: "a b"@b.example': box('"a b"', "b.example"),
    "FROM:a@[192.0.2.1]": box("a", "[192.0.2.1]"),
    "TO:Postmaster": Mailbox("Postmaster", "", ""),
}


@pytest.mark.parametrize("argument", BARE)
def test_paths_without_brackets(argument: str) -> None:
    keyword = argument.partition(":")[0]
    assert parse_path(argument, keyword, bare=True) == ParsedPath(BARE[argument], {})
    assert parse_path(f"{argument} X=1", keyword, bare=True) == ParsedPath(BARE[argument], {"X": "1"})
    assert parse_path(argument, keyword) is None


@pytest.mark.parametrize("argument", [one for one in NO_PATHS if one != "FROM:a@b.example"])
def test_what_is_ambiguous_without_brackets_too(argument: str) -> None:
    assert parse_path(argument, "TO" if argument.startswith("TO") else "FROM", bare=True) is None


@pytest.mark.parametrize("said", ["", "<>", "<scanner>", "scanner", "<#@[]>", " <my scanner@x y>", "<ü", "root@"])
def test_a_sender_in_place_of_what_is_said(said: str) -> None:
    forced = box("scan", "b.example")
    assert replace_path(f"FROM:{said}", forced) == (None if said == "<ü" else ParsedPath(forced, {}))
    assert replace_path(f"TO:{said}", forced) is None
    if said not in ("", "<ü"):
        assert replace_path(f"FROM:{said} SIZE=5", forced) == ParsedPath(forced, {"SIZE": "5"})


def test_the_keyword_must_be_the_one_asked_for() -> None:
    assert parse_path("TO:<a@b.example>", "FROM") is None
    assert parse_path("FROM:<a@b.example>", "TO") is None


def test_wide() -> None:
    postmaster = parse_path("TO:<postmaster>", "TO")
    assert postmaster is not None
    assert not postmaster.wide
    null = parse_path("FROM:<>", "FROM")
    assert null is not None
    assert not null.wide
    for argument in ("FROM:<ü@b.example>", "FROM:<a@bücher.example>"):
        wide = parse_path(argument, "FROM")
        assert wide is not None
        assert wide.wide


PARAMETERS = {
    "": {},
    "   ": {},
    " SIZE=1": {"SIZE": "1"},
    "  size=1   Body=8bitMIME ": {"SIZE": "1", "BODY": "8bitMIME"},
    " SMTPUTF8": {"SMTPUTF8": ""},
    " ENVID=Ab+2B<>;,": {"ENVID": "Ab+2B<>;,"},
    " ORCPT=utf-8;ü@b.example": {"ORCPT": "utf-8;ü@b.example"},
    " MT-PRIORITY=3 1X": {"MT-PRIORITY": "3", "1X": ""},
    "SIZE=1": None,
    "\tSIZE=1": None,
    " SIZE=": None,
    " =1": None,
    " -X=1": None,
    " SIZE=1=2": None,
    " SIZE=1\t": None,
    " SIZE=1 size=1": None,
    " S_X": None,
    " ü": None,
    " SIZE=\0": None,
    " SIZE=\udcff": None,
}


@pytest.mark.parametrize("text", PARAMETERS)
def test_parameters(text: str) -> None:
    parsed = parse_path("FROM:<a@b.example>" + text, "FROM")
    assert (parsed.parameters if parsed else None) == PARAMETERS[text]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a@b.example", box("a", "b.example")),
        ('"a@x"@B.example', box('"a@x"', "B.example", "b.example")),
        ("a@[192.0.2.1]", box("a", "[192.0.2.1]")),
        ("postmaster", None),
        ("", None),
        ("<a@b.example>", None),
        ("a@b.example ", None),
        ("a@b.example.", box("a", "b.example")),
        ("a@b.example..", None),
        ("a@b.example\n", None),
        ("@r.example:a@b.example", None),
    ],
)
def test_mailbox(text: str, expected: Mailbox | None) -> None:
    assert mailbox(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "FROM:<" + "@a," * 100_000,
        "FROM:<" + "@" * 300_000,
        'FROM:<"' + "\\" * 300_001,
        "FROM:<" + "a" * 300_000 + "@",
        "FROM:<a@" + "b." * 150_000 + ">",
        "FROM:<a@b.example>" + " A" * 100_000,
        "FROM:" + " " * 300_000,
        "FROM:<a@" + "ü" * 100_000 + ">",
    ],
)
def test_hostile_input_costs_no_more_than_its_length(text: str) -> None:
    began = time.perf_counter()
    assert parse_path(text, "FROM") is None
    assert time.perf_counter() - began < 0.5
