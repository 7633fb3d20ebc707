"""Naming another rule set in the configuration changes that one value, or gives the line to write by hand."""

from __future__ import annotations

import tomllib

import pytest

from gateway.config.policies import NotWritten, name_set

REST = '[server]\nhostname = "mx.x.example" # set = "enforce"\n'


SENDER = '[[policy.sender]]\nname = "x"\ndkim = "x.example"'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('[policy]\nset = "enforce"   # why\nfcrdns = true\n', '[policy]\nset = "strict"   # why\nfcrdns = true\n'),
        ("[policy]\nset = 'enforce'\n", '[policy]\nset = "strict"\n'),
        ('policy.set = "enforce"\n', 'policy.set = "strict"\n'),
        ('policy = { fcrdns = true, set = "learn" }\n', 'policy = { fcrdns = true, set = "strict" }\n'),
        ("[policy] # how\nfcrdns = true\n", '[policy] # how\nset = "strict"\nfcrdns = true\n'),
        (SENDER, f'{SENDER}\n\n[policy]\nset = "strict"\n'),
        ("", '\n[policy]\nset = "strict"\n'),
        ('[ policy ]\r\nset = "enforce"\r\n', '[ policy ]\r\nset = "strict"\r\n'),
    ],
)
def test_one_value_changes(before: str, after: str) -> None:
    assert name_set(before, "strict") == after
    for text in (before + "\n" + REST, REST + before):
        if before.startswith("policy") and text.startswith(REST):
            continue
        changed = name_set(text, "strict")
        was, now = tomllib.loads(text), tomllib.loads(changed)
        assert now.pop("policy")["set"] == "strict"
        was.pop("policy", None)
        assert now == was


def test_already_there_is_no_change() -> None:
    assert name_set('[policy]\nset = "strict"\n', "strict") == '[policy]\nset = "strict"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[policy]\nset = "env:WAYPOST_SET"\n', 'policy.set is "env:WAYPOST_SET": change it there'),
        ('policy = { firewall = "reject" }\n', "by hand"),
        ('policy.firewall = "reject"\n', "by hand"),
    ],
)
def test_what_is_not_one_line_is_left_to_the_admin(text: str, said: str) -> None:
    with pytest.raises(NotWritten, match=said) as caught:
        name_set(text, "strict")
    assert "waypost reload" in str(caught.value)
