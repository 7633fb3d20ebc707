"""docs/policy.md is true: its facts are those declared, its rules load, its examples hold."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from gateway.config.model import Config
from gateway.config.policies import read_policies
from gateway.config.rule_files import find_sets
from gateway.policy.facts import facts_table
from gateway.policy.load import load
from gateway.policy.proof import try_examples

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "policy.md"
TEXT = PAGE.read_text("utf-8")
BLOCKS = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)


def test_the_facts_are_those_declared() -> None:
    table = TEXT.partition("<!-- facts -->\n")[2].partition("<!-- /facts -->")[0]
    assert table == facts_table(), f"put the output of `waypost policy facts` between the marks in {PAGE}"


def test_the_rule_files_load_and_their_examples_come_true() -> None:
    texts = [block for block in BLOCKS if block.startswith("set = ")]
    assert len(texts) == 3
    tried = []
    for text in texts:
        rules = load("mine", {**read_policies(None), "mine.toml": text})
        tried += [one for one in try_examples(rules) if one.rule.file == "mine.toml"]
    assert [one.problem for one in tried] == ["", ""]


def test_the_settings_are_settings() -> None:
    sections = [tomllib.loads(block) for block in BLOCKS if block.startswith("[policy]")]
    assert len(sections) == 2
    for section in sections:
        domain = section.get("domain", [{"name": "example.com", "backend": "google"}])
        tree = {
            "server": {"hostname": "mx.example.com"},
            "listener": [{"address": "127.0.0.1:25"}],
            "domain": domain,
            "backend": {"google": {"hosts": "mx"}},
        }
        Config.model_validate({**tree, "policy": section["policy"]})


def test_every_set_is_described() -> None:
    for name in find_sets(None):
        assert f"| `{name}` |" in TEXT
