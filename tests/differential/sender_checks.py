"""SPF checks made at random, the same ones for the same seed."""

from __future__ import annotations

import json
import random
from typing import Any

Case = dict[str, Any]

NAMES = [f"n{number}.example" for number in range(8)]
ADDRESSES = ["192.0.2.1", "192.0.2.129", "198.51.100.7", "2001:db8::1", "2001:db8:1::7"]
MACROS = [
    "%{i}",
    "%{d}",
    "%{s}",
    "%{l}",
    "%{h}",
    "%{dr}",
    "%{d2}",
    "%{ir}.%{v}",
    "%{o1}",
    "%{l1r-}",
    "%{I}",
    "%%",
    "%{x}",
]


def make_sender_check(seed: int) -> Case:
    """One SPF check over eight names that lead to each other."""
    dice = random.Random(seed)
    zone: dict[str, Any] = {}
    for name in NAMES:
        entry: dict[str, Any] = {"TXT": [_record(dice) for _ in range(dice.choices([0, 1, 2], [1, 20, 1])[0])]}
        for kind, family in (("A", ADDRESSES[:3]), ("AAAA", ADDRESSES[3:])):
            entry[kind] = dice.sample(family, dice.randrange(len(family)))
        entry["MX"] = [f"{number * 10} {host}" for number, host in enumerate(dice.sample(NAMES, dice.randrange(3)))]
        zone[name] = dice.choices([entry, "SERVFAIL", "TIMEOUT"], [40, 1, 1])[0]
    if dice.random() < 0.3:
        zone["1.2.0.192.in-addr.arpa"] = {"PTR": dice.sample(NAMES, 2)}
    return {
        "id": f"spf-{seed}",
        "ip": dice.choice(ADDRESSES),
        "helo": dice.choice(NAMES),
        "sender": f"{dice.choice(['ann', 'a.b-c', 'x+y', 'A'])}@{dice.choice(NAMES)}",
        "dns": zone,
    }


def _record(dice: random.Random) -> str:
    terms = [_term(dice) for _ in range(dice.randrange(5))]
    terms.append(dice.choice(["-all", "~all", "?all", "+all", "all", f"redirect={dice.choice(NAMES)}", "", "-ALL"]))
    version = dice.choices(["v=spf1", "V=SPF1", "v=spf10", "v=spf2"], [40, 2, 1, 1])[0]
    return dice.choices([" ", "  "], [20, 1])[0].join(part for part in (version, *terms) if part)


def _term(dice: random.Random) -> str:
    name, macro = dice.choice(NAMES), dice.choice(MACROS)
    length = dice.choice(["", "", "/24", "/32", "//64", "/24//64", "/0", "/33", "/08", "//129"])
    term = dice.choices(
        [
            f"ip4:{dice.choice(ADDRESSES[:3])}{length.partition('//')[0]}",
            f"ip6:{dice.choice(ADDRESSES[3:])}{length.replace('//', '/') if length.startswith('//') else ''}",
            f"a:{name}{length}",
            f"a{length}",
            f"mx:{name}{length}",
            f"mx{length}",
            f"include:{name}",
            f"exists:{macro}.{name}",
            f"include:{macro}{name[2:]}",
            "ptr",
            f"ptr:{name}",
            f"exp={name}",
            dice.choice(["x=y", "foo", "ip4:1.2.3", "a:", "include", "all:x", "mx=1", "ip6:::g", "a:b", "redirect="]),
        ],
        [12, 6, 10, 6, 6, 4, 10, 6, 3, 2, 2, 2, 1],
    )[0]
    return dice.choices(["", "-", "~", "?", "+"], [10, 2, 2, 1, 1])[0] + term


def at_own_names(check: Case, domain: str) -> Case:
    """The check with its names below a domain of its own, so that one DNS server can answer for many; without time-outs
    and reverse names, which many checks would share."""
    text = json.dumps({name: check[name] for name in ("ip", "helo", "sender", "dns")})
    moved: Case = json.loads(text.replace(".example", f".{domain}").replace('"TIMEOUT"', '"SERVFAIL"'))
    moved["dns"] = {name: entry for name, entry in moved["dns"].items() if not name.endswith(".arpa")}
    return moved
