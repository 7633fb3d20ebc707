"""`waypost reload`: the running gateway reports the result."""

from __future__ import annotations

import json

import pytest

from tests.support.gateway_process import Gateway

pytestmark = pytest.mark.slow


def test_the_outcome_comes_back_as_the_answer(gateway: Gateway) -> None:
    gateway.start(backends=False)
    config = ("--config", str(gateway.config_path))

    same = gateway.run("reload", *config)
    assert (same.returncode, same.stdout) == (0, "Reloaded; nothing has changed.\n")

    good = gateway.config_path.read_text()
    moved = good.replace('"bob@corp.example" = "microsoft"', '"bob@corp.example" = "google"')
    gateway.config_path.write_text(moved.replace("drain_timeout = 5", "drain_timeout = 6"))
    changed = gateway.run("reload", *config)
    assert (changed.returncode, changed.stdout) == (0, "Reloaded; changed: routing; after a restart: server.\n")

    gateway.config_path.write_text(good.replace('backend = "google"', 'backend = "gogle"') + "[dns]\n")
    broken = gateway.run("reload", *config)
    assert broken.returncode == 1, "the spool can be read from it, so the gateway is asked"
    assert "no TOML" in broken.stdout

    gateway.config_path.write_text(
        good.replace('backend = "google"', 'backend = "gogle"').replace("drain_timeout = 5", "drain_timeout = -5")
    )
    refused = gateway.run("reload", "--json", *config)
    assert refused.returncode == 1
    (answer,) = json.loads(refused.stdout)
    assert 'did you mean "google"?' in answer["problem"]
    assert "server.drain_timeout" in answer["problem"], "every mistake, not only the first"
    assert "routing" not in answer["changed"]


def test_without_a_gateway_there_is_nothing_to_reload(gateway: Gateway) -> None:
    gateway.write_config()
    none = gateway.run("reload", "--config", str(gateway.config_path))
    assert none.returncode == 2
    assert none.stderr.startswith(f"there is no spool in {gateway.directory / 'spool'}; `waypost serve` makes it")
    gateway.start(backends=False)
    gateway.kill()
    down = gateway.run("reload", "--config", str(gateway.config_path))
    assert (down.returncode, down.stderr) == (2, "`reload` is for a gateway that runs, and none does\n")
