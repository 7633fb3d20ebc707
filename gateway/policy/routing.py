"""The backend of each mailbox. Values are backend names, never hosts, and other addresses."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network

from gateway.mail.path import encode_xtext
from gateway.mail.path import mailbox as read_mailbox
from gateway.mail.srs import Srs
from gateway.model.envelope import IPText, Mailbox, Recipient, parse_ip
from gateway.model.message import Route, Target
from gateway.model.value import Value, field, replace

_ROLES = frozenset({"postmaster", "abuse"})
"""Always accepted (RFC 5321 section 4.5.1; RFC 2142 section 4)."""
_MOST_ALIASES = 100
"""Addresses that one alias may stand for, over all steps."""


def is_role(mailbox: Mailbox, domains: Collection[str]) -> bool:
    """postmaster@ or abuse@ one of `domains`, or the bare `<postmaster>`."""
    local = mailbox.name
    if not mailbox.domain:
        return local == "postmaster"
    return local in _ROLES and mailbox.ascii_domain in domains


class RoutingTable(Value):
    """Recipients to backends: the address maps first, then the domain's default. `bob+anything@` has the backend of
    `bob@` (RFC 5233), unless it is listed itself."""

    domains: Mapping[str, str]
    """Our domains in A-labels, each with its default backend; the first answers for the bare `<postmaster>`."""
    addresses: Mapping[str, str]
    """`Mailbox.key` -> words with a space between: a backend's name, or another address, which makes it an alias.
    Several words are several deliveries."""
    single_domain: frozenset[str] = frozenset()
    """Backends that take one recipient domain per transaction."""
    maps: tuple[Mapping[str, str], ...] = ()
    """Further maps like `addresses`; the first that has an address counts."""
    listed: frozenset[str] = frozenset()
    """Domains whose mailboxes are all in `addresses` and `maps`."""
    stale: bool = False
    """A map has been unreadable for so long that a missing mailbox may exist all the same."""
    callout: frozenset[str] = frozenset()
    """Domains whose backends may be asked whether a mailbox exists."""
    elsewhere: str = ""
    """The backend for domains that are not ours: set only in the table for mail of our senders."""
    origins: Mapping[str, tuple[IPv4Network | IPv6Network, ...]] = field(default_factory=dict)
    """Backend -> the networks that it sends from."""
    outside: str = ""
    """The backend for aliases of addresses that are not ours."""
    srs: Srs | None = None
    """Recognises the return paths that we have written for them."""

    def targets(self, mailbox: Mailbox) -> tuple[Target, ...]:
        """All destinations of its mail. For a domain that is not ours that is `elsewhere`, or nothing, regardless of
        the maps."""
        returned = self.srs.restore(mailbox) if self.srs else None
        if returned is not None:
            return (Target(self.outside, returned.mailbox, third_party=True),)
        default = self.domains.get(self._home(mailbox))
        if default is None:
            return (Target(self.elsewhere, mailbox),) if self.elsewhere else ()
        found: dict[Target, None] = {}
        self._follow(mailbox, found, {mailbox.key})
        # The aliases lead only to each other: the backend decides about the address.
        return tuple(found) or (Target(default, mailbox),)

    def backend_for(self, mailbox: Mailbox) -> str | None:
        """The backend's name, the first of several; None when the domain is not ours."""
        return next((target.backend for target in self.targets(mailbox)), None)

    def _follow(self, mailbox: Mailbox, found: dict[Target, None], seen: set[str]) -> None:
        domain = self._home(mailbox)
        default = self.domains.get(domain)
        if default is None:
            found[Target(self.outside, mailbox, third_party=True)] = None
            return
        entry, tag = self._find(mailbox, domain)
        for word in (entry or default).split():
            alias = read_mailbox(word) if "@" in word else None
            if alias is None:
                found[Target(word, mailbox)] = None
                continue
            alias = replace(alias, local=f"{alias.local}{tag}") if tag and "+" not in alias.local else alias
            if alias.key == mailbox.key:
                # The address lists itself among others: that means the mailbox at its domain's backend.
                found[Target(default, mailbox)] = None
            elif alias.key not in seen and len(seen) < _MOST_ALIASES:
                seen.add(alias.key)
                self._follow(alias, found, seen)

    def lists(self, mailbox: Mailbox) -> bool:
        """False when the domain's mailboxes are all listed, and this one is not."""
        domain = self._home(mailbox)
        return domain not in self.listed or self._find(mailbox, domain)[0] is not None

    def reaching(self, backend: str) -> RoutingTable:
        """The table that routes mail of our senders: `backend` takes mail for other domains, each domain in a
        transaction of its own, because it may have hosts of its own."""
        return replace(self, elsewhere=backend, single_domain=self.single_domain | {backend})

    def came_from(self, backend: str, client: IPText) -> bool:
        """The client is the backend itself: mail routed back to it would loop."""
        networks = self.origins.get(backend)
        if not networks:
            return False
        address = parse_ip(client)
        return any(address in network for network in networks)

    def backends(self) -> frozenset[str]:
        """Every backend in the table."""
        values = {value for entries in (self.addresses, *self.maps) for value in entries.values()}
        outside = {self.outside} if any("@" in value for value in values) else set()
        return frozenset(self.domains.values()) | name_backends(values) | outside

    def backends_of(self, domain: str) -> frozenset[str]:
        """The backends where mailboxes of one of our domains live, as far as the maps tell."""
        end, default = f"@{domain}", "" if domain in self.listed else self.domains.get(domain, "")
        tables = (self.addresses, *self.maps)
        return name_backends((default, *(value for one in tables for key, value in one.items() if key.endswith(end))))

    def _home(self, mailbox: Mailbox) -> str:
        """The domain; the first of ours for the bare `<postmaster>`."""
        bare = not mailbox.domain and mailbox.key == "postmaster@"
        return next(iter(self.domains), "") if bare else mailbox.ascii_domain

    def _find(self, mailbox: Mailbox, domain: str) -> tuple[str | None, str]:
        """The entry of a listed mailbox, and the `+tag` that was removed to find it."""
        local = mailbox.name
        base = local.partition("+")[0]
        for name in (local,) if base in ("", local) else (local, base):
            key = f"{name}@{domain}"
            for entries in (self.addresses, *self.maps):
                if key in entries:
                    quoted = mailbox.local.startswith('"')
                    return entries[key], "" if name == local or quoted else mailbox.local[len(base) :]
        return None, ""

    def role(self, mailbox: Mailbox) -> bool:
        """A role address of ours: exempt from authentication and rate refusals."""
        return is_role(mailbox, self.domains)

    def group(self, rcpts: Iterable[Recipient], client: IPText | None = None) -> tuple[Route, ...]:
        """One route for each mail transaction: per backend, and per recipient domain if the backend requires that. A
        backend gets no mail that comes from it, unless a recipient would have no other route. Recipients keep their
        order, and each is once in a route. Raises ValueError for a recipient that is not ours."""
        groups: dict[tuple[str, bool], dict[str, Recipient]] = {}
        for rcpt in rcpts:
            targets = self.targets(rcpt.mailbox)
            if not targets:
                raise ValueError(f"{rcpt.mailbox} has no route")
            others = [one for one in targets if client is None or not self.came_from(one.backend, client)]
            for target in others or targets:
                group = groups.setdefault((target.backend, target.third_party), {})
                group.setdefault(target.mailbox.key, _readdress(rcpt, target.mailbox))
        return tuple(
            replace(route, third_party=third_party)
            for (backend, third_party), group in groups.items()
            for route in self.divide(backend, group.values())
        )

    def divide(self, backend: str, rcpts: Iterable[Recipient]) -> tuple[Route, ...]:
        """One route to this backend for all recipients, or for each recipient domain if the backend requires that."""
        routes: dict[str, list[Recipient]] = {}
        single = backend in self.single_domain
        for rcpt in rcpts:
            domain = rcpt.mailbox.ascii_domain if single else ""
            routes.setdefault(domain, []).append(rcpt)
        return tuple(Route(backend, tuple(group)) for group in routes.values())


def name_backends(values: Iterable[str]) -> frozenset[str]:
    """The backends that a map's values name."""
    return frozenset(word for value in values for word in value.split() if "@" not in word)


def _readdress(rcpt: Recipient, mailbox: Mailbox) -> Recipient:
    """The same recipient at another address; a DSN still names the original one (RFC 3461 section 5.2.5)."""
    if mailbox == rcpt.mailbox:
        return rcpt
    original = str(rcpt.mailbox)
    orcpt = rcpt.orcpt or (f"rfc822;{encode_xtext(original)}" if original.isascii() else "")
    return replace(rcpt, mailbox=mailbox, orcpt=orcpt)
