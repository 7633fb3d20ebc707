"""Domain names: every name that DNS can hold becomes lower-case A-labels, everything else None."""

from __future__ import annotations

import pytest

from gateway.mail.domain import a_label, is_subdomain, organization_of, parent


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Example.COM", "example.com"),
        ("example.com.", "example.com"),
        ("_dmarc.example.com", "_dmarc.example.com"),
        ("localhost", "localhost"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER。example", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("_dmarc.bücher.example", "_dmarc.xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("ｅxample.com", "example.com"),  # noqa: RUF001
        ("a" * 63 + ".example", "a" * 63 + ".example"),
        (".".join(["a" * 63] * 3 + ["b" * 61]), ".".join(["a" * 63] * 3 + ["b" * 61])),
    ],
)
def test_names(text: str, name: str) -> None:
    assert a_label(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "a..b",
        ".a",
        "a..",
        "a" * 64 + ".example",
        ".".join(["a" * 63] * 3 + ["b" * 62]),
        "[192.0.2.1]",
        "a b",
        "a@b",
        "a\r\nb",
        "a\x00.b",
        "\udcff.example",
        "é" * 60 + ".example",
        "é" * 100_000,
        "a\u0300" * 200,
        "\u200d.example",
        "xn--é.example",
        "a.é..b",
    ],
)
def test_no_names(text: str) -> None:
    assert a_label(text) is None


def test_parent() -> None:
    assert (parent("a.b.example"), parent("example"), parent("")) == ("b.example", "", "")


@pytest.mark.parametrize(
    ("child", "above", "below"),
    [
        ("a.example", "example", True),
        ("example", "example", True),
        ("badexample", "example", False),
        ("example", "a.example", False),
        ("a.example", "", False),
    ],
)
def test_is_subdomain(child: str, above: str, below: bool) -> None:
    assert is_subdomain(child, above) is below


@pytest.mark.parametrize(
    ("name", "organization"),
    [
        ("example.com", "example.com"),
        ("_dmarc.a.b.example.com", "example.com"),
        ("a.co.uk", "a.co.uk"),
        ("_dmarc.a.co.uk", "a.co.uk"),
        ("mail.b.com.au", "b.com.au"),
        ("co.uk", "co.uk"),
        ("mail.web.de", "web.de"),
        ("com", "com"),
        ("", ""),
        ("1.2.0.192.in-addr.arpa", "0.192.in-addr.arpa"),
        ("1." + "0." * 23 + "8.b.d.0.1.0.0.2.ip6.arpa", "8.b.d.0.1.0.0.2.ip6.arpa"),
        ("x.home.arpa", "x.home.arpa"),
    ],
)
def test_whose_name_it_is(name: str, organization: str) -> None:
    assert organization_of(name) == organization
