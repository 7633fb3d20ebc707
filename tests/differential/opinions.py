"""The same question to us and to other implementations: a case is one message or one SPF check with its DNS."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway.authentication import arc, dkim, spf
from gateway.mail.domain import a_label
from gateway.model.envelope import Mailbox, ip_text
from gateway.model.ingress import ClientSource, EdgeIngress
from gateway.model.result import DkimResult, SpfIdentity, SpfResult
from tests.support.judging import judge_zone
from tests.support.signing import evidence

Case = Mapping[str, Any]


def ask_stock(cases: Sequence[Case]) -> dict[str, dict[str, Any]]:
    """The results of stock dkimpy and pyspf, by the case's id."""
    lines = "".join(json.dumps({**case, **_encoded(case)}) + "\n" for case in cases)
    program = [sys.executable, Path(__file__).with_name("stock.py")]
    done = subprocess.run(program, input=lines, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.split("\n") if line]
    return {answer["id"]: answer for answer in answers}


def _encoded(case: Case) -> dict[str, str]:
    return {"message": base64.b64encode(case["message"]).decode()} if "message" in case else {}


def our_signatures(case: Case) -> tuple[DkimResult, ...]:
    collected, header = evidence(case["message"])
    return judge_zone(dict(case["dns"]), lambda window: dkim.verify(collected, header, window, case["now"]))


def our_chain(case: Case) -> str:
    collected, header = evidence(case["message"])
    return judge_zone(dict(case["dns"]), lambda window: arc.validate(collected, header, window, case["now"])).result


def our_sender_check(case: Case) -> SpfResult:
    client = ip_text(case["ip"])
    ingress = EdgeIngress(client, ClientSource.PEER, case["helo"], "mx", client)
    local, at, domain = case["sender"].rpartition("@")
    sender = Mailbox(local, domain, a_label(domain) or domain.lower()) if at else None
    return judge_zone(
        dict(case["dns"]), lambda window: spf.evaluate(ingress, sender, SpfIdentity.MAILFROM, window, "mx.ours.example")
    )
