"""A rule that could never be asked, or an action without effect, is refused when it is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.model import Config
from gateway.config.policies import load_rules
from gateway.policy.rules import RuleErrors

RULE = 'set = "mine"\n[[rule]]\nid = "one"\nstage = "{stage}"\nwhen = "ingress.edge"\nthen = "{then}"\n'


def config(directory: Path) -> Config:
    return Config.model_validate(
        {
            "server": {"hostname": "mx.gw.example"},
            "listener": [{"address": "127.0.0.1:25"}],
            "domain": [{"name": "corp.example", "backend": "one"}],
            "backend": {"one": {"hosts": "mx"}},
            "policy": {"set": "mine", "directory": str(directory)},
        }
    )


@pytest.mark.parametrize(
    ("stage", "then", "line", "said"),
    [
        ("rcpt", "greylist", 6, "before the message is in"),
        ("data", "greylist", 5, "would let nobody in"),
    ],
)
def test_what_nobody_could_carry_out_is_named_with_its_line(
    tmp_path: Path, stage: str, then: str, line: int, said: str
) -> None:
    (tmp_path / "mine.toml").write_text(RULE.format(stage=stage, then=then))
    with pytest.raises(RuleErrors, match=rf"mine\.toml:{line}: rule one: .*{said}"):
        load_rules(config(tmp_path))


def test_what_is_there_loads(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(RULE.format(stage="data", then="quarantine"))
    assert load_rules(config(tmp_path)).name == "mine"
