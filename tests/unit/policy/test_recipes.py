"""The recipes of docs/policy.md: the lines as they stand on the page, and the mail of each, before and after."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.app.runtime_config import make_runtime
from gateway.model.decision import Action
from gateway.model.value import Value
from tests.support.judging_context import House, make_config
from tests.support.samples import plain, sign, signing_key

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "policy.md").read_text("utf-8")
CHAPTER = PAGE.partition("\n## Recipes\n")[2].partition("\n## ")[0]
RECIPES = dict(re.findall(r"^### (.*?)\n(.*?)(?=^### |\Z)", CHAPTER, re.MULTILINE | re.DOTALL))
OFFICE, SHARED = "198.51.100.20", "40.92.0.5"
KEY = {"TXT": [signing_key()[1]]}
ZONE: dict[str, Any] = {
    "example.com": {"TXT": [f"v=spf1 ip4:192.0.2.10 ip4:{SHARED} -all"], "MX": ["10 mx.gw.example"]},
    "_dmarc.example.com": {"TXT": ["v=DMARC1; p=reject"]},
    "sel1._domainkey.example.com": KEY,
    "web1.example.com": {"A": ["198.51.100.9"]},
    "partner.example": {"TXT": ["v=spf1 ip4:192.0.2.20 -all"], "MX": ["10 mx.partner.example"]},
    "_dmarc.partner.example": {"TXT": ["v=DMARC1; p=reject"]},
    "sel1._domainkey.partner.example": KEY,
    "lists.club.example": {"TXT": ["v=spf1 ip4:203.0.113.5 -all"], "MX": ["10 lists.club.example"]},
    "sel1._domainkey.lists.club.example": KEY,
    "alumni.example": {"TXT": ["v=spf1 ip4:203.0.113.30 -all"], "MX": ["10 mx.alumni.example"]},
}


class Flow(Value):
    """A message that a recipe is for."""

    octets: Callable[[], bytes]
    client: str
    sender: str
    before: Action
    after: Action


def post_to_list() -> bytes:
    """The list changed the subject, so our signature is broken."""
    changed = sign(plain("ann@example.com"), "example.com").replace(b"Subject: Plain", b"Subject: [Club] Plain")
    return sign(b"List-Id: <members.lists.club.example>\r\n" + changed, "lists.club.example")


def answer() -> bytes:
    return b"Auto-Submitted: auto-replied\r\n" + plain("ann@example.com")


def forwarded() -> bytes:
    """The forwarder put a tag into the subject."""
    return sign(plain("bob@partner.example"), "partner.example").replace(b"Subject: ", b"Subject: [external] ")


A, Q, R = Action.ACCEPT, Action.QUARANTINE, Action.REJECT
FLOWS: dict[str, dict[str, Flow]] = {
    "The web form of your site": {
        "as the form": Flow(lambda: plain("form@example.com"), "198.51.100.7", "www@example.com", R, A),
        "as its visitor": Flow(lambda: plain("bob@partner.example"), "198.51.100.7", "www@example.com", R, R),
        "from elsewhere": Flow(lambda: plain("form@example.com"), "198.51.100.77", "www@example.com", R, R),
    },
    "Cron and other programs on your own hosts": {
        "the host": Flow(lambda: plain("root@web1.example.com"), "198.51.100.9", "root@web1.example.com", R, A),
        "a stranger": Flow(lambda: plain("root@web1.example.com"), "203.0.113.77", "root@web1.example.com", R, R),
    },
    "The scanner": {
        "the scanner": Flow(lambda: plain("scan@example.com"), OFFICE, "scan@example.com", R, A),
        "a stranger": Flow(lambda: plain("scan@example.com"), "203.0.113.77", "scan@example.com", R, R),
    },
    "Posts of your people to a list": {
        "with another subject": Flow(post_to_list, "203.0.113.5", "members-bounces@lists.club.example", Q, A),
        "with a list field alone": Flow(
            lambda: b"List-Id: <members.lists.club.example>\r\n" + plain("ann@example.com"),
            "203.0.113.77",
            "x@lists.club.example",
            R,
            R,
        ),
    },
    "Bounces, out-of-office answers and invitations from one half to the other": {
        "an out-of-office answer": Flow(answer, "192.0.2.10", "", Q, A),
    },
    "A forwarder of your people": {
        "a changed message": Flow(forwarded, "203.0.113.30", "SRS0=x=y=partner.example=bob@alumni.example", Q, A),
        "in our own name": Flow(lambda: plain("ann@example.com"), "203.0.113.30", "ann@alumni.example", R, R),
    },
    "Others who pass SPF as you from a shared provider": {
        "another tenant": Flow(lambda: plain("ceo@example.com"), SHARED, "ceo@example.com", A, Q),
        "our own tenant, signed": Flow(
            lambda: sign(plain("ceo@example.com"), "example.com"), SHARED, "ceo@example.com", A, A
        ),
    },
}


def find_settings(recipe: str, directory: Path) -> tuple[dict[str, Any], Mapping[str, Any], bool]:
    """The policy settings, the DNS records and the signatures that a recipe asks for."""
    policy: dict[str, Any] = {}
    for block in re.findall(r"```toml\n(.*?)```", RECIPES[recipe], re.DOTALL):
        if block.startswith("set = "):
            (directory / "mine.toml").write_text(block)
            policy = {"set": "mine", "directory": str(directory)}
        else:
            policy |= tomllib.loads(block)["policy"]
    records = re.findall(r"^([\w.]+)\. TXT \"(.*)\"$", RECIPES[recipe], re.MULTILINE)
    zone = {name: {**ZONE.get(name, {}), "TXT": [text]} for name, text in records}
    return policy, zone, "Switch on DKIM" in RECIPES[recipe]


async def judge(flow: Flow, policy: Mapping[str, Any], zone: Mapping[str, Any], signed: bool) -> Action:
    domain = [{"name": "example.com", "backend": "one"}]
    runtime = make_runtime(make_config(domain=domain, policy=policy))
    house = House(runtime, zone={**ZONE, **zone}, client=flow.client)
    octets = sign(flow.octets(), "example.com") if signed else flow.octets()
    return (await house.send(octets, flow.sender, "alice@example.com")).decision.action


@pytest.mark.parametrize(("recipe", "name"), [(recipe, name) for recipe, flows in FLOWS.items() for name in flows])
async def test_a_recipe_does_what_it_is_for(recipe: str, name: str, tmp_path: Path) -> None:
    flow = FLOWS[recipe][name]
    assert await judge(flow, {}, {}, False) is flow.before
    policy, zone, signed = find_settings(recipe, tmp_path)
    assert policy or zone or signed
    ways = [({}, zone, signed), (policy, {}, signed)] if policy and zone else [(policy, zone, signed)]
    for way in ways:
        assert await judge(flow, *way) is flow.after, "each way alone"


def test_every_recipe_is_tried() -> None:
    assert RECIPES.keys() == FLOWS.keys()
