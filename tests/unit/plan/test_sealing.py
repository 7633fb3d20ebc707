"""The copies that are sealed: per backend, over a chain that verifies, and only if nothing breaks (promise P2)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, Group

from gateway.app import make_runtime
from gateway.config.model import Config
from gateway.mail.path import mailbox
from gateway.model.decision import Action
from gateway.model.delivery import Trace
from gateway.model.envelope import IPText
from gateway.model.message import BodyDigest, Evidence, Route
from gateway.model.result import ArcResult, ArcVerdict
from gateway.net.resolver import ZoneResolver
from gateway.net.zone import build_zone
from gateway.plan.sealing import find_obstacle, find_sealed
from gateway.service.runtime import RuntimeConfig
from gateway.tools.explain import Replayed, render_evidence, replay
from gateway.tools.rehearsal import Delivered, rehearse
from tests.support.sealing import HOPS, pass_on, pem, validate, zone
from tests.support.signing import MESSAGE, NOW, Signer, rsa_key, sign

OURS = HOPS[2]
USUAL = ["X-Waypost-Verdict", "Authentication-Results", "Received"]
SET = ["ARC-Seal", "ARC-Message-Signature", "ARC-Authentication-Results"]


@pytest.fixture
def law(tmp_path: Path) -> RuntimeConfig:
    """`sealed` requires a seal, `plain` does not."""
    key = tmp_path / "arc.pem"
    key.write_bytes(pem(rsa_key()))
    config = Config.model_validate(
        {
            "server": {"hostname": f"mx.{OURS}"},
            "listener": [{"address": "127.0.0.1:25"}],
            "domain": [{"name": "corp.example", "backend": "sealed"}],
            "backend": {"sealed": {"hosts": "mx", "seal": True}, "plain": {"hosts": "mx"}},
            "routing": {"addresses": {"bob@corp.example": "plain"}},
            "seal": {"domain": OURS, "selector": "arc", "key": key},
        }
    )
    return make_runtime(config)


async def receive(law: RuntimeConfig, message: bytes, *names: str, spf: str = "v=spf1 ?all") -> Trace:
    rcpts = tuple(found for name in names or ("alice",) if (found := mailbox(f"{name}@corp.example")))
    dns: dict[str, Any] = {name: {"TXT": [text]} for name, text in zone().items()}
    dns |= {"src.example": {"TXT": [spf]}, "_dmarc.src.example": {"TXT": ["v=DMARC1; p=quarantine"]}}
    delivered = Delivered(IPText("203.0.113.7"), "h.example", mailbox("ann@src.example"), rcpts, message, NOW)
    return (await rehearse(delivered, law, ZoneResolver(build_zone(dns)))).trace


def added(trace: Trace) -> list[str]:
    return [field.partition(":")[0] for field in trace.added]


def forwarded(trace: Trace, message: bytes) -> bytes:
    return b"".join(field.encode() + b"\r\n" for field in trace.added) + message


@pytest.mark.parametrize("hops", [0, 1, 2])
async def test_a_copy_gets_the_next_set_on_top_and_it_verifies(law: RuntimeConfig, hops: int) -> None:
    message = pass_on(sign(), hops)
    trace = await receive(law, message)
    assert added(trace) == SET + USUAL
    assert trace.sealed == ("sealed",)
    assert trace.omitted == ()
    result = validate(forwarded(trace, message))
    assert (result.result, result.sealers, result.oldest_pass) == (ArcVerdict.PASS, (*HOPS[:hops], OURS), 0)
    assert f"i={hops + 1}; mx.{OURS};" in trace.added[2]
    assert replay(trace, law.context) is Replayed.SAME


async def test_a_backend_that_wants_none_gets_none(law: RuntimeConfig) -> None:
    trace = await receive(law, sign(), "bob")
    assert added(trace) == USUAL
    assert trace.sealed == trace.omitted == ()


async def test_the_trace_says_whose_copy_is_sealed(law: RuntimeConfig) -> None:
    trace = await receive(law, sign(), "alice", "bob")
    assert trace.sealed == ("sealed",)
    assert added(trace) == SET + USUAL
    page = show(trace)
    assert "ARC set only in the copies for" in page
    assert "ARC-Seal: a=rsa-sha256;" in page


async def test_a_quarantined_message_is_sealed_with_the_truth(law: RuntimeConfig) -> None:
    trace = await receive(law, MESSAGE)
    assert trace.decision.action is Action.QUARANTINE
    assert added(trace) == SET + USUAL
    assert "dmarc=fail" in trace.added[2]


@pytest.mark.parametrize("lost", [b"how  are you?", b"A  question"])
async def test_a_failed_chain_is_left_as_it_is_and_the_trace_says_so(law: RuntimeConfig, lost: bytes) -> None:
    trace = await receive(law, pass_on(MESSAGE, 2).replace(lost, b"else"))
    assert added(trace) == USUAL
    assert trace.sealed == ()
    [note] = trace.omitted
    assert note.startswith("ARC-Seal: the chain that came in cannot be vouched for: ARC-Message-Signature 2")
    assert "Fields left out" in show(trace)


@pytest.mark.parametrize("name", [name.lower() for name in SET])
async def test_no_set_where_it_would_break_what_dmarc_rests_on(law: RuntimeConfig, name: str) -> None:
    message = Signer((("h", f"from:{name}"),)).sign(MESSAGE) + MESSAGE
    trace = await receive(law, message)
    assert trace.decision.action is Action.ACCEPT
    assert added(trace) == USUAL
    assert trace.omitted == (
        "ARC-Seal: the signature of src.example (selector s), on which the DMARC pass rests, forbids one more",
    )


async def test_a_signature_is_spared_also_beside_an_spf_pass(law: RuntimeConfig) -> None:
    """The backend sees our address: it has only the signature."""
    message = Signer((("h", "from:arc-seal"),)).sign(MESSAGE) + MESSAGE
    trace = await receive(law, message, spf="v=spf1 ip4:203.0.113.7 -all")
    assert added(trace) == USUAL


async def test_a_forged_result_of_ours_is_dropped_before_the_seal(law: RuntimeConfig) -> None:
    forged = f"Authentication-Results: mx.{OURS}; dmarc=pass\r\n".encode()
    message = sign()
    trace = await receive(law, forged + message)
    assert len(trace.dropped) == 1
    assert validate(forwarded(trace, message)).result is ArcVerdict.PASS


def test_backends_are_named_once(law: RuntimeConfig) -> None:
    routes = [Route("sealed", ()), Route("plain", ()), Route("sealed", ())]
    assert find_sealed(law.context.sealing, routes) == ("sealed",)
    assert find_sealed(None, routes) == ()


def test_no_fifty_first_set_and_none_without_a_digest() -> None:
    evidence = Evidence(b"", (BodyDigest("relaxed", None, b"", 0),), 0)
    assert find_obstacle(ArcResult(ArcVerdict.PASS, 0, ("a.example",) * 49), evidence) == ""
    assert "50 sets" in find_obstacle(ArcResult(ArcVerdict.PASS, 0, ("a.example",) * 50), evidence)
    assert "no backend" in find_obstacle(ArcResult(ArcVerdict.NONE), Evidence(b"", (), 0))
    assert "temperror" in find_obstacle(ArcResult(ArcVerdict.FAIL, reason="temperror: key"), evidence)


def show(trace: Trace) -> str:
    page = io.StringIO()
    Console(width=400, file=page).print(Group(*render_evidence(trace)))
    return page.getvalue()
