from __future__ import annotations

import pytest

from gateway.model.envelope import Mailbox, ip_text


@pytest.mark.parametrize(
    ("local", "name"),
    [("Bob", "bob"), ('"Bob"', "bob"), ('"b\\ob"', "bob"), ('"a b"', "a b"), ('"', '"'), ('""', ""), ('a"b', 'a"b')],
)
def test_quotes_that_change_nothing_are_not_compared(local: str, name: str) -> None:
    mailbox = Mailbox(local, "Corp.example", "corp.example")
    assert mailbox.name == name
    assert mailbox.key == f"{name}@corp.example"
    assert str(mailbox) == f"{local}@Corp.example", "what is sent on stays as it came"


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_addresses_have_one_form(text: str, canonical: str) -> None:
    assert ip_text(text) == canonical


@pytest.mark.parametrize("text", ["", "192.0.2", "192.0.2.256", "x", "192.0.2.1 "])
def test_what_is_no_address_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        ip_text(text)
