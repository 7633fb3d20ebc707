"""Nothing accepted is lost, and no backend gets a message twice because another one failed."""

from __future__ import annotations

import json
import re
import time
from typing import Any

from tests.support.gateway_process import Gateway, send
from tests.support.samples import nested_multipart, plain, sign


def deliver(gateway: Gateway, rcpts: list[str]) -> tuple[int, str]:
    message = sign(nested_multipart("author@sender.example"), "sender.example")
    with gateway.smtp() as client:
        return send(client, "author@sender.example", rcpts, message)


def story(gateway: Gateway, text: str) -> dict[str, Any]:
    """The output of `explain` for the message whose id ends this reply."""
    found = re.search(r"\((\w+)\)$", text)
    assert found
    done = gateway.run("explain", found[1], "--config", str(gateway.config_path), "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_backend_down_then_back(gateway: Gateway) -> None:
    gateway.start(backends=False)
    code, text = deliver(gateway, ["alice@corp.example"])
    assert code == 250, text
    told = story(gateway, text)
    assert (told["content"], told["replayed"]) == ("identical", "same")
    listed = gateway.run("queue", "list", "--config", str(gateway.config_path))
    assert "alice@corp.example" in listed.stdout
    gateway.google.start()
    gateway.google.wait(1, seconds=30)
    time.sleep(1.5)
    assert len(gateway.google.received()) == 1
    told = story(gateway, text)
    assert (told["content"], told["replayed"]) == ("purged", "same")
    assert [one["state"] for one in told["recipients"]] == ["delivered"]
    assert len(told["attempts"]) >= 2


def test_kill_between_250_and_delivery(gateway: Gateway) -> None:
    gateway.start(backends=False)
    for _ in range(20):
        code, text = deliver(gateway, ["alice@corp.example", "bob@corp.example"])
        assert code == 250, text
    gateway.kill()
    gateway.google.start()
    gateway.microsoft.start()
    gateway.start_gateway()
    gateway.google.wait(20, seconds=40)
    gateway.microsoft.wait(20, seconds=40)
    time.sleep(2)
    assert len(gateway.google.received()) == 20
    assert len(gateway.microsoft.received()) == 20


def test_one_half_failing_the_other_is_not_resent(gateway: Gateway) -> None:
    gateway.write_config()
    gateway.google.start()
    gateway.start_gateway()
    code, text = deliver(gateway, ["alice@corp.example", "bob@corp.example"])
    assert code == 250, text
    gateway.google.wait(1)
    time.sleep(3)
    gateway.microsoft.start()
    gateway.microsoft.wait(1, seconds=30)
    time.sleep(1.5)
    assert len(gateway.google.received()) == 1
    assert len(gateway.microsoft.received()) == 1


def test_sigterm_drains_and_exits_zero(gateway: Gateway) -> None:
    gateway.start()
    client = gateway.smtp()
    client.mail("author@other.example")
    client.rcpt("alice@corp.example")
    assert gateway.process is not None
    gateway.process.terminate()
    time.sleep(0.5)
    # The open transaction still ends well ...
    code, text = client.docmd("DATA")
    assert code == 354, text
    client.send(plain("author@plain.example") + b".\r\n")
    code, text = client.getreply()
    assert code == 250, text
    # ... and is the session's last, at the latest after drain_timeout.
    end = time.monotonic() + 10
    while client.noop()[0] == 250 and time.monotonic() < end:
        time.sleep(0.2)
    client.close()
    assert gateway.process.wait(20) == 0
    assert len(gateway.google.received()) == 1
