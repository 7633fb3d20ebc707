"""Stock dkimpy and pyspf in a process of their own: JSON lines in, JSON lines out, as tests/peers/verify.mjs has them.

The libraries stand as they are installed; given are the DNS answers, by the seam that each has for that, and the hour.
In: {"id", "message": base64, "ip", "helo", "sender", "dns", "now"}. Out: {"id", "dkim": [word or error], "arc", "spf"}.
"""

from __future__ import annotations

import base64
import json
import logging
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import dkim
    import spf

Zone = dict[str, Any]


def look_up(zone: Zone, name: str, kind: str) -> list[str] | str:
    """Records, aliases followed; TIMEOUT or SERVFAIL as such; nothing for a name or type that is not there."""
    name = name.lower().removesuffix(".")
    for _ in range(12):
        entry = zone.get(name)
        value = entry if isinstance(entry, str) else (entry or {}).get(kind, [])
        if value or not entry or "CNAME" not in entry:
            return value
        name = entry["CNAME"][0].lower().removesuffix(".")
    return "SERVFAIL"


def make_dkim_dns(zone: Zone) -> Callable[..., bytes | None]:
    def ask(name: bytes, timeout: int = 5) -> bytes | None:
        found = look_up(zone, name.decode("latin-1"), "TXT")
        if isinstance(found, str):
            raise dkim.DnsTimeoutError(found)
        return found[0].encode("latin-1", "replace") if found else None

    return ask


def make_spf_dns(zone: Zone) -> Callable[..., list[Any]]:
    def ask(name: str, kind: str, strict: object = True, timeout: object = 20) -> list[Any]:
        found = look_up(zone, name, kind)
        if isinstance(found, str):
            raise spf.TempError(f"DNS {found}")
        return [((name, kind), shape(record, kind)) for record in found]

    return ask


def shape(record: str, kind: str) -> object:
    if kind == "TXT":
        return (record.encode("latin-1", "replace"),)
    if kind == "MX":
        preference, _, host = record.partition(" ")
        return int(preference), host.removesuffix(".")
    return record.removesuffix(".")


def verify_signatures(message: bytes, ask: Callable[..., bytes | None]) -> list[str]:
    """One word for each DKIM-Signature: pass, fail, or the exception."""
    try:
        parsed = dkim.DKIM(message)
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]
    words = []
    for index in range(sum(name.lower() == b"dkim-signature" for name, _ in parsed.headers)):
        try:
            words.append("pass" if dkim.DKIM(message).verify(idx=index, dnsfunc=ask) else "fail")
        except Exception as error:
            words.append(f"{type(error).__name__}: {error}")
    return words


def validate_chain(message: bytes, ask: Callable[..., bytes | None]) -> str:
    try:
        result = dkim.arc_verify(message, dnsfunc=ask)[0]
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return result.decode() if isinstance(result, bytes) else "fail"


def check_sender(asked: dict[str, Any]) -> str:
    spf.DNSLookup = make_spf_dns(asked["dns"])
    try:
        word: str = spf.check2(i=asked["ip"], s=asked["sender"], h=asked["helo"])[0]
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return word


def judge(asked: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"id": asked["id"]}
    asked["dns"] = {name.lower().removesuffix("."): entry for name, entry in asked["dns"].items()}
    if "message" in asked:
        message, ask = base64.b64decode(asked["message"]), make_dkim_dns(asked["dns"])
        if "now" in asked:
            time.time = lambda: asked["now"]
        answer |= {"dkim": verify_signatures(message, ask), "arc": validate_chain(message, ask)}
    if "ip" in asked:
        answer["spf"] = check_sender(asked)
    return answer


if __name__ == "__main__":
    logging.disable()
    for line in sys.stdin:
        print(json.dumps(judge(json.loads(line))), flush=True)
