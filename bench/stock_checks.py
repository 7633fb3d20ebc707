"""python -m bench.stock_checks: the cost of stock dkimpy and pyspf, as JSON, for bench.authentication. No DMARC."""

from __future__ import annotations

import hashlib
import json
import warnings

import dkim
from dkim.canonicalization import Relaxed

from bench.checks import (
    ALL,
    BASE64,
    CLIENT,
    DOMAIN,
    PROSE,
    REPEATS,
    SPF,
    SPF_LARGE,
    Costs,
    Zone,
    cost,
    make_base64,
    make_message,
    make_prose,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import spf


def measure(message: bytes, zone: Zone) -> Costs:
    def look_up(name: str, kind: str, strict: object = True, timeout: object = 20) -> list[object]:
        return [((name, kind), (text.encode(),)) for text in zone.get(name.lower(), [])] if kind == "TXT" else []

    def key(name: bytes, timeout: object = 5) -> bytes | None:
        found = zone.get(name.decode().removesuffix("."))
        return found[0].encode() if found else None

    def check_spf(domain: str) -> object:
        word = spf.check2(i=CLIENT, s=f"ann@{domain}", h=f"mail.{DOMAIN}")[0]
        assert word == "pass", word
        return word

    def check() -> object:
        check_spf(DOMAIN)
        assert dkim.verify(message, dnsfunc=key)
        return None

    def hash_body(body: bytes) -> object:
        return hashlib.sha256(Relaxed.canonicalize_body(body)).digest()

    spf.DNSLookup = look_up
    prose, encoded = make_prose(10_000_000), make_base64(10_000_000)
    return {
        ALL: cost(check, REPEATS),
        SPF: cost(lambda: check_spf(DOMAIN), REPEATS),
        SPF_LARGE: cost(lambda: check_spf(f"large.{DOMAIN}"), REPEATS),
        BASE64: cost(lambda: hash_body(encoded), 1),
        PROSE: cost(lambda: hash_body(prose), 1),
    }


if __name__ == "__main__":
    print(json.dumps(measure(*make_message())))
