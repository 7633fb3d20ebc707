"""Which mailbox lives on which backend. Values are backend names, never hosts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network, ip_address

from gateway.model.address import IPText, Mailbox
from gateway.model.envelope import Recipient
from gateway.model.route import Route

_ROLES = frozenset({"postmaster", "abuse"})
"""Always accepted (RFC 5321 section 4.5.1; RFC 2142 section 4)."""


def is_role(mailbox: Mailbox, domains: Collection[str]) -> bool:
    """postmaster@ or abuse@ one of `domains`, or the bare `<postmaster>`."""
    local = mailbox.name
    if not mailbox.domain:
        return local == "postmaster"
    return local in _ROLES and mailbox.ascii_domain in domains


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """Recipients to backends: the address maps first, then the domain's default. `bob+anything@` is at home where
    `bob@` is (RFC 5233), unless it is listed itself."""

    domains: Mapping[str, str]
    """Our domains in A-labels, each with its default backend; the first answers for the bare `<postmaster>`."""
    addresses: Mapping[str, str]
    """`Mailbox.key` -> backend."""
    single_domain: frozenset[str] = frozenset()
    """Backends that take one recipient domain per transaction."""
    maps: tuple[Mapping[str, str], ...] = ()
    """More of `addresses`, map by map; the first that has an address counts."""
    listed: frozenset[str] = frozenset()
    """Domains whose mailboxes are all in `addresses` and `maps`."""
    stale: bool = False
    """A map could not be read for so long that who is not listed may exist all the same."""
    callout: frozenset[str] = frozenset()
    """Domains whose backends may be asked whether a mailbox exists."""
    elsewhere: str = ""
    """The backend for domains that are not ours: only in the table by which senders of ours are routed."""
    origins: Mapping[str, tuple[IPv4Network | IPv6Network, ...]] = field(default_factory=dict)
    """Backend -> where mail comes from that it has sent."""

    def backend_for(self, mailbox: Mailbox) -> str | None:
        """The backend's name; for a domain that is not ours `elsewhere`, or None, whatever the address map says."""
        domain = self._home(mailbox)
        default = self.domains.get(domain)
        if default is None:
            return self.elsewhere or None
        return self._find(mailbox, domain) or default

    def lists(self, mailbox: Mailbox) -> bool:
        """False when the domain's mailboxes are all listed, and this one is not."""
        domain = self._home(mailbox)
        return domain not in self.listed or self._find(mailbox, domain) is not None

    def reaching(self, backend: str) -> RoutingTable:
        """The table by which senders of ours are routed: `backend` takes what is for other domains, each of them in a
        transaction of its own, as it may have hosts of its own."""
        return replace(self, elsewhere=backend, single_domain=self.single_domain | {backend})

    def came_from(self, backend: str, client: IPText) -> bool:
        """The client is the backend itself: mail from there, routed back there, would go round for ever."""
        networks = self.origins.get(backend)
        if not networks:
            return False
        address = ip_address(client)
        return any(address in network for network in networks)

    def backends(self) -> frozenset[str]:
        """Every backend that mail is routed to."""
        listed = (entries.values() for entries in (self.addresses, *self.maps))
        return frozenset(self.domains.values()).union(*listed)

    def _home(self, mailbox: Mailbox) -> str:
        """The domain; the first of ours for the bare `<postmaster>`."""
        bare = not mailbox.domain and mailbox.key == "postmaster@"
        return next(iter(self.domains), "") if bare else mailbox.ascii_domain

    def _find(self, mailbox: Mailbox, domain: str) -> str | None:
        """The backend of a mailbox that is listed."""
        local = mailbox.name
        base = local.partition("+")[0]
        for name in (local,) if base in ("", local) else (local, base):
            key = f"{name}@{domain}"
            for entries in (self.addresses, *self.maps):
                if key in entries:
                    return entries[key]
        return None

    def role(self, mailbox: Mailbox) -> bool:
        """A role address of ours: exempt from authentication and rate refusals."""
        return is_role(mailbox, self.domains)

    def group(self, rcpts: Iterable[Recipient]) -> tuple[Route, ...]:
        """One route for each mail transaction: per backend, and per recipient domain where the backend wants that.
        Routes and recipients keep the order they came in. Raises ValueError for a recipient that is not ours."""
        groups: dict[str, list[Recipient]] = {}
        for rcpt in rcpts:
            backend = self.backend_for(rcpt.mailbox)
            if backend is None:
                raise ValueError(f"{rcpt.mailbox} has no route")
            groups.setdefault(backend, []).append(rcpt)
        return tuple(route for backend, group in groups.items() for route in self.divide(backend, group))

    def divide(self, backend: str, rcpts: Iterable[Recipient]) -> tuple[Route, ...]:
        """One route to this backend for all of them, or for each recipient domain where the backend wants that."""
        routes: dict[str, list[Recipient]] = {}
        for rcpt in rcpts:
            domain = rcpt.mailbox.ascii_domain if backend in self.single_domain else ""
            routes.setdefault(domain, []).append(rcpt)
        return tuple(Route(backend, tuple(group)) for group in routes.values())
