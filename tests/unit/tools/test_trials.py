"""`waypost policy test` and `policy show`: the shipped examples come true, an admin's own are tried too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.policy import commands
from gateway.config.policies import load_set
from gateway.model.decision import Stage
from gateway.policy.rules import RuleErrors
from gateway.tools.trials import read_wanted, try_rules
from tests.support.samples import plain

SETS = ("enforce", "strict", "learn")
CONFIG = """
[server]
hostname = "mx.gw.example"
[[listener]]
address = "127.0.0.1:25"
[[domain]]
name = "own.example"
backend = "one"
[[domain]]
name = "severe.example"
backend = "one"
policy = "strict"
[backend.one]
hosts = "mx"
[policy]
firewall = "reject"
[[policy.sender]]
name = "tickets"
dkim = "tickets.example"
"""


@pytest.mark.parametrize("name", SETS)
def test_every_example_beside_the_shipped_rules_comes_true(name: str) -> None:
    trials = list(try_rules(load_set(name, None)))
    assert [trial for trial in trials if trial.problem] == []
    assert trials


@pytest.mark.parametrize("name", SETS)
def test_every_shipped_rule_has_an_example_in_which_it_decides(name: str) -> None:
    rules = load_set(name, None).rules
    without = [rule.id for stage in Stage for rule in rules[stage] if not any(one.decides for one in rule.examples)]
    assert without == []


RULES = """
set = "mine"
include = ["enforce.toml"]
[[rule]]
id = "huge"
stage = "data"
when = "message.size > 30000000"
then = "quarantine"
[[rule.example]]
facts = { "message.size" = 100 }
[[rule.example]]
name = "just too small"
facts = { "message.size" = 29999999 }
decides = false
"""


def run(*words: str, status: int = 0) -> str:
    result = CliRunner().invoke(commands, words, env={"WAYPOST_CONFIG": ""}, catch_exceptions=False)
    assert result.exit_code == status, result.output
    return result.output


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "gateway.toml"
    file.write_text(CONFIG)
    return file


def test_an_example_that_does_not_come_true_is_shown_with_its_place(tmp_path: Path, config: Path) -> None:
    config.write_text(CONFIG.replace('firewall = "reject"', 'directory = "rules"\nset = "mine"'))
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "mine.toml").write_text(RULES)
    said = run("test", "--config", str(config), status=1)
    assert "mine.toml:9: mine: huge: no rule decides, not huge" in said
    tried = json.loads(run("test", "--config", str(config), "--policy", "mine", "--json", status=1))
    assert [one["name"] for one in tried if not one["true"]] == ["huge"]
    assert "just too small" in [one["name"] for one in tried]


EXAMPLES = """
[[example]]
name  = "a spoof"
facts = { "dmarc.result" = "fail", "dmarc.policy" = "reject", "dmarc.grounds" = ["direct-spoof"] }
then  = "reject"
rule  = "dmarc-reject"

[[example]]
name      = "a message of ours"
file      = "message.eml"
ip        = "192.0.2.1"
mail_from = "ceo@own.example"
rcpt      = "alice@own.example"
dns       = "zone.json"
rule      = "own-domain-firewall"

[[example]]
name = "wrong"
then = "reject"
"""


def test_an_admins_own_file_is_tried(tmp_path: Path, config: Path) -> None:
    (tmp_path / "message.eml").write_bytes(plain("ceo@own.example"))
    (tmp_path / "zone.json").write_text("{}")
    file = tmp_path / "examples.toml"
    file.write_text(EXAMPLES)
    said = run("test", str(file), "--config", str(config), status=1)
    assert f"{file}:17: enforce: wrong: default decides (accept), not reject" in said
    assert said.count(str(file)) == 1
    file.write_text(EXAMPLES[: EXAMPLES.index("[[example]]\nname = ")])
    assert "come true" in run("test", str(file), "--config", str(config))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[[example]]\nfacts = { "dmarc.reslt" = "x" }\nthen = "reject"', ":2: example 1: no fact named dmarc.reslt"),
        ("[[example]]\nfacts = {}", ":1: example 1: says nothing of what is wanted"),
        ('[[example]]\nthen = "rejct"', ':2: example 1: then: no "rejct"'),
        ('[[example]]\nfactz = 1\nthen = "reject"', ":2: example 1: factz: no such setting; did you mean facts?"),
        ('[[example]]\nfile = "m.eml"\nthen = "reject"', ":1: example 1: ip is missing"),
        ('[[example]]\nstage = "rcpt"\nfacts = { "dmarc.result" = "fail" }\nthen = "reject"', "not known yet"),
        ("x = 1", ":1: write each example as [[example]]"),
        ("x = ", ":1: no TOML"),
    ],
)
def test_a_file_with_mistakes_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "examples.toml"
    file.write_text(text)
    with pytest.raises(RuleErrors) as caught:
        read_wanted(file, {})
    assert expected in caught.value.format()


def test_a_message_that_is_not_there_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "examples.toml"
    file.write_text(EXAMPLES)
    with pytest.raises(RuleErrors) as caught:
        read_wanted(file, {})
    assert (
        caught.value.format()
        == f"{file}:14: example 2: dns: cannot read {tmp_path}/zone.json: No such file or directory"
    )
    (tmp_path / "zone.json").write_text("{}")
    with pytest.raises(RuleErrors) as caught:
        read_wanted(file, {})
    said = f"example 2: file: no message {tmp_path}/message.eml; create it or fix its path"
    assert caught.value.format() == f"{file}:10: {said}"


def test_show_tells_rules_places_and_settings(config: Path) -> None:
    said = run("show", "--config", str(config))
    assert "Set enforce" in said
    assert "Mail to severe.example is judged by strict" in said
    assert "own-domain-firewall: reject   [own-domain.toml:" in said
    assert "setting policy.firewall = reject" in said
    assert "setting policy.sender = tickets" in said
    assert "setting greylisting.enabled = false" in said
    assert "setting domain = own.example, severe.example" in said
    assert said.index("inside: accept") < said.index("dmarc-reject: reject") < said.index("dmarc-quarantine")


def test_show_for_programs(config: Path) -> None:
    told = json.loads(run("show", "--config", str(config), "--json"))
    assert (told["set"], told["domains"], told["beside"]) == ("enforce", {"severe.example": "strict"}, None)
    firewall = next(rule for rule in told["rules"] if rule["id"] == "own-domain-firewall")
    assert firewall["settings"]["policy.firewall"] == "reject"
    assert Path(firewall["file"]).name == "own-domain.toml"
    assert json.loads(run("show", "--policy", "learn", "--json"))["beside"] == "enforce"


def test_facts_are_listed() -> None:
    assert "| `dmarc.grounds` | list(string) | data |" in run("facts")
