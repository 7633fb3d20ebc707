"""What the memory of senders learns from one message."""

from __future__ import annotations

from gateway.mail.domain import is_subdomain
from gateway.model.address import network_of
from gateway.model.history import Sighting
from gateway.model.ingress import EdgeIngress, Ingress
from gateway.model.result import ArcVerdict, Authentication, DkimVerdict, DmarcVerdict
from gateway.policy.weighing import FactSettings, find_zones, is_vouched


def sight(ingress: Ingress, results: Authentication, settings: FactSettings) -> Sighting | None:
    """None when nothing can be learnt: it came from inside or from an unknown address, or what DNS would say of it is
    not known, or its domain is none of ours and publishes no DMARC policy."""
    dmarc = results.dmarc
    if not isinstance(ingress, EdgeIngress) or ingress.client is None or not dmarc.domain:
        return None
    zones = find_zones((dmarc.domain,), settings.own | settings.protected)
    if dmarc.result not in (DmarcVerdict.PASS, DmarcVerdict.FAIL) and not (zones and dmarc.result is DmarcVerdict.NONE):
        return None
    passed = is_vouched(zones, (dmarc.domain,), results) if zones else dmarc.result is DmarcVerdict.PASS
    organization = dmarc.organizational_domain or dmarc.domain
    others = (
        one.domain
        for one in results.dkim
        if one.result is DkimVerdict.PASS and not is_subdomain(one.domain, organization)
    )
    name = ingress.rdns or ingress.helo
    return Sighting(
        zone=min(zones, key=len) if zones else organization,
        domain=dmarc.domain,
        source=network_of(ingress.client),
        signer=next(others, ""),
        name=name[:255],
        passed=passed,
        ours=bool(zones),
    )


def find_signers(results: Authentication) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Who answers for a message that DMARC fails: d= of its passing signatures, and d= of the last seal of a chain that
    verifies. An author's own are none of them: DMARC would have passed."""
    passing = dict.fromkeys(one.domain for one in results.dkim if one.result is DkimVerdict.PASS)
    sealers = results.arc.sealers[-1:] if results.arc.result is ArcVerdict.PASS else ()
    return tuple(passing), sealers
