"""A condition that fails whenever it is asked is refused, one that only could fail is not, and a long set is read in
time."""

from __future__ import annotations

import time

import pytest

from gateway.policy.load import load

GUARDED = [
    'dkim.signatures > 0 && dkim.pass_domains[0] == "own.example"',
    'size(rcpt.domains) > 1 && rcpt.domains[1] == "own.example"',
    'ingress.helo.matches("^[0-9]+$") && int(ingress.helo) > 5',
    'ingress.helo.startsWith("20") && timestamp(ingress.helo) > timestamp("2020-01-01T00:00:00Z")',
    "rcpt.count > 1 && message.size / (rcpt.count - 1) > 5",
    'author.domain == "a.matches(\\"[\\")" || ingress.helo.matches("a(b|c)")',
    '!(message.size > 5) // matches("(")',
    'dmarc.result == "fail" ? ingress.helo.matches(author.domain) : message.size / message.hops > 5',
    "ingress.helo.matches(r'^[\\w.-]+$')",
]


def text_of(conditions: list[str]) -> str:
    rules = (
        f"[[rule]]\nid = \"r{number}\"\nstage = \"data\"\nwhen = '''\n{condition} \n'''\nthen = \"quarantine\"\n"
        for number, condition in enumerate(conditions)
    )
    return 'set = "mine"\n' + "".join(rules)


@pytest.mark.parametrize("condition", GUARDED)
def test_a_condition_that_guards_itself_is_taken(condition: str) -> None:
    load("mine", {"mine.toml": text_of([condition])})


FORMS = {
    "no finite fact": 'envelope.mail_from_domain == "d{}.example"',
    "some": 'dmarc.result == "fail" && author.domain == "d{}.example"',
    "numbers": "message.size == 1000{} && dkim.signatures == {}",
}


@pytest.mark.parametrize("form", FORMS)
def test_each_rule_of_a_long_set_costs_what_it_costs_in_a_short_one(form: str) -> None:
    def cost(count: int) -> float:
        text = text_of([FORMS[form].replace("{}", str(number)) for number in range(count)])
        began = time.process_time()
        load("mine", {"mine.toml": text})
        return (time.process_time() - began) / count

    short, long = min(cost(60) for _ in range(3)), cost(600)
    assert long < 3 * short
