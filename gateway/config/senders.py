"""From the configuration to who may send through us."""

from __future__ import annotations

from gateway.config.model import Config
from gateway.config.providers import provider_networks
from gateway.mail.path import mailbox
from gateway.policy.sender import Identity, Senders, Tenant


def read_senders(config: Config) -> Senders:
    """Everybody whom [[sender]] and [[tenant]] name."""
    identities = tuple(
        Identity(
            name=one.name,
            owns=frozenset(one.owns),
            forced=mailbox(one.forced) if one.forced else None,
            login=one.login,
            networks=one.networks,
        )
        for one in config.sender
    )
    tenants = tuple(
        Tenant(
            name=one.name,
            domains=frozenset(one.domains),
            networks=one.networks or provider_networks(one.provider),
            certificates=one.certificates,
            backend=one.backend,
            tenant_id=one.tenant_id,
            dkim=one.dkim,
            secret_header=one.secret_header,
            secret=one.secret,
        )
        for one in config.tenant
    )
    return Senders(identities, tenants, frozenset(domain.name for domain in config.domain))
