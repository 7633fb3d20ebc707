"""Which mailbox lives on which backend. Values are backend names, never hosts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from gateway.model.address import Mailbox
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
    """Recipients to backends: the address map first, then the domain's default."""

    domains: Mapping[str, str]
    """Our domains in A-labels, each with its default backend; the first answers for the bare `<postmaster>`."""
    addresses: Mapping[str, str]
    """`Mailbox.key` -> backend."""
    single_domain: frozenset[str] = frozenset()
    """Backends that take one recipient domain per transaction."""

    def backend_for(self, mailbox: Mailbox) -> str | None:
        """The backend's name; None when the domain is not ours, whatever the address map says."""
        domain = mailbox.ascii_domain
        if not mailbox.domain and mailbox.name == "postmaster":
            domain = next(iter(self.domains), "")
        default = self.domains.get(domain)
        if default is None:
            return None
        return self.addresses.get(f"{mailbox.name}@{domain}", default)

    def backends(self) -> frozenset[str]:
        """Every backend that mail is routed to."""
        return frozenset((*self.domains.values(), *self.addresses.values()))

    def role(self, mailbox: Mailbox) -> bool:
        """A role address of ours: exempt from authentication and rate refusals."""
        return is_role(mailbox, self.domains)

    def group(self, rcpts: Iterable[Recipient]) -> tuple[Route, ...]:
        """One route for each mail transaction: per backend, and per recipient domain where the backend wants that.
        Routes and recipients keep the order they came in. Raises ValueError for a recipient that is not ours."""
        routes: dict[tuple[str, str], list[Recipient]] = {}
        for rcpt in rcpts:
            backend = self.backend_for(rcpt.mailbox)
            if backend is None:
                raise ValueError(f"{rcpt.mailbox} has no route")
            domain = rcpt.mailbox.ascii_domain if backend in self.single_domain else ""
            routes.setdefault((backend, domain), []).append(rcpt)
        return tuple(Route(backend, tuple(rcpts)) for (backend, _), rcpts in routes.items())
