"""The hosts of a backend, in order of trial: a configured list, or the MX of the recipient's domain.

Names are looked up through the resolver's port only; `localhost` needs no lookup (RFC 6761 section 6.3).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import Literal

from gateway.config.values import Networks
from gateway.model.delivery import Scope
from gateway.model.dnsdata import Answer, DnsStatus, Question
from gateway.model.envelope import IPText, ip_text, is_special
from gateway.model.reply import Reply
from gateway.model.value import Value
from gateway.ports import Resolver

Family = Literal["any", "ipv4", "ipv6"]

_MOST_HOSTS = 10
_MOST_ADDRESSES_OF_HOST = 2
_MOST_ADDRESSES = 6
"""Number of connections that one attempt tries."""
_SMTP_PORT = 25
_HOSTS_FILE = Path("/etc/hosts")
_MOST_OF_HOSTS_FILE = 1_000_000


class Host(Value):
    """A host by name or address literal."""

    name: str
    port: int = _SMTP_PORT


class NoHost(Exception):
    """There is no host to connect to: `reply` gives the reason in our own words."""

    def __init__(self, reply: Reply, scope: Scope) -> None:
        super().__init__(str(reply))
        self.reply = reply
        self.scope = scope


def parse_host(text: str) -> Host:
    """`host`, `host:port`, `[IPv6]:port`. Raises ValueError."""
    name, port = text, ""
    if text.startswith("["):
        name, bracket, port = text[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise ValueError(f"not a host: {text}")
        port = port[1:]
    elif text.count(":") == 1:
        name, _, port = text.partition(":")
    if not name or (port and not port.isdecimal()):
        raise ValueError(f"not a host: {text}")
    return Host(name, int(port) if port else _SMTP_PORT)


async def find_mx(domain: str, resolver: Resolver, own_name: str, jitter: Callable[[], float]) -> tuple[Host, ...]:
    """The hosts that take mail for a domain (RFC 5321 section 5.1). Raises NoHost.

    `domain` is in A-labels, or an address literal. Hosts of equal preference come in random order.
    """
    if not domain:
        raise NoHost(Reply(550, "1.2", "The address has no domain"), Scope.RECIPIENT)
    if domain.startswith("["):
        return (_literal(domain),)
    question = Question(domain, "MX")
    answer = (await resolver.fetch([question]))[question]
    if answer.failed:
        raise NoHost(Reply(451, "4.3", f"DNS gave no answer for the mail hosts of {domain}"), Scope.RECIPIENT)
    if answer.status is DnsStatus.NXDOMAIN:
        raise NoHost(Reply(550, "1.2", f"The domain {domain} does not exist"), Scope.RECIPIENT)
    exchanges = _exchanges(answer)
    if not exchanges:
        return (Host(domain),)  # implicit MX
    if all(not name for _, name in exchanges):
        # RFC 7505 section 4.1
        raise NoHost(Reply(556, "1.10", f"The domain {domain} takes no mail (null MX)"), Scope.RECIPIENT)
    ours = [preference for preference, name in exchanges if name.lower() == own_name.lower()]
    usable = [(preference, name) for preference, name in exchanges if name and (not ours or preference < min(ours))]
    if not usable:
        # RFC 5321 section 5.1: a host never passes mail to itself, or to one less preferred than itself.
        raise NoHost(Reply(554, "4.6", f"The mail host of {domain} is this gateway itself"), Scope.RECIPIENT)
    ordered = sorted((preference, jitter(), name) for preference, name in usable)
    return tuple(Host(name) for _, _, name in ordered[:_MOST_HOSTS])


def _exchanges(answer: Answer) -> list[tuple[int, str]]:
    found = []
    for record in answer.records:
        preference, _, name = record.partition(" ")
        if preference.isdecimal():
            found.append((int(preference), name.strip().rstrip(".")))
    return found


def _literal(domain: str) -> Host:
    text = domain.strip("[]")
    text = text[5:] if text.lower().startswith("ipv6:") else text
    try:
        return Host(ip_text(text))
    except ValueError:
        raise NoHost(Reply(550, "1.2", f"{domain} is no address literal"), Scope.RECIPIENT) from None


async def find_addresses(host: Host, family: Family, resolver: Resolver) -> tuple[IPText, ...]:
    """The addresses of a host, IPv4 first, because backends identify a gateway by its IPv4 addresses. Empty when it has
    none.

    Raises NoHost when DNS gave no answer.
    """
    literal = _addresses_without_lookup(host.name)
    if literal:
        return tuple(address for address in literal if _fits(address, family))
    types = [type for type, only in (("A", "ipv4"), ("AAAA", "ipv6")) if family in ("any", only)]
    questions = [Question(host.name.lower().rstrip("."), type) for type in types]
    answers = await resolver.fetch(questions)
    found = [record for question in questions for record in answers[question].records]
    if not found and any(answers[question].failed for question in questions):
        raise NoHost(Reply(451, "4.3", f"DNS gave no address for {host.name}"), Scope.SITE)
    return tuple(ip_text(record) for record in found)


def _addresses_without_lookup(name: str) -> Sequence[IPText]:
    if name.lower().rstrip(".") == "localhost":
        return (IPText("127.0.0.1"), IPText("::1"))
    try:
        return (ip_text(name),)
    except ValueError:
        return ()


def _find_in_hosts_file(name: str) -> str:
    """The address in this machine's own hosts file; empty when there is none. Asked only to explain why DNS has
    none."""
    try:
        lines = _HOSTS_FILE.read_text("utf-8", "replace")[:_MOST_OF_HOSTS_FILE].splitlines()
    except OSError:
        return ""
    wanted = name.lower().rstrip(".")
    found = (line.partition("#")[0].split() for line in lines)
    return next((words[0] for words in found if wanted in [word.lower() for word in words[1:]]), "")


def _fits(address: IPText, family: Family) -> bool:
    version = ipaddress.ip_address(address).version
    return family == "any" or version == (4 if family == "ipv4" else 6)


class HostFinder:
    """The hosts and addresses of one backend."""

    def __init__(
        self,
        hosts: Sequence[str],
        family: Family,
        resolver: Resolver,
        own_name: str,
        jitter: Callable[[], float],
        mx_networks: Networks = (),
    ) -> None:
        """`hosts` as configured: `host` or `host:port` each, or `mx` alone; `mx_networks`: special networks that a
        stranger's MX may lead to. Raises ValueError."""
        self.uses_mx = tuple(hosts) == ("mx",)
        self._configured = () if self.uses_mx else tuple(parse_host(text) for text in hosts)
        self._family = family
        self._resolver = resolver
        self._own_name = own_name
        self._jitter = jitter
        self._mx_networks = mx_networks

    async def candidates(self, domain: str) -> AsyncGenerator[tuple[Host, IPText], None]:
        """Hosts with their addresses, in order of trial, looked up as they are needed.

        Raises NoHost when there is none.
        """
        problem = NoHost(Reply(451, "4.4", "No host is configured"), Scope.OURS)
        count = 0
        hosts = self._configured or await find_mx(domain, self._resolver, self._own_name, self._jitter)
        for host in hosts:
            try:
                addresses = await find_addresses(host, self._family, self._resolver)
            except NoHost as error:
                problem = error
                continue
            if not addresses:
                problem = self._no_address(host, implicit=self.uses_mx and host.name == domain)
            if self.uses_mx:
                forbidden = [address for address in addresses if self._is_forbidden(address)]
                if forbidden:
                    problem = _leads_inside(host, forbidden[0])
                    addresses = tuple(address for address in addresses if address not in forbidden)
            for address in addresses[:_MOST_ADDRESSES_OF_HOST]:
                yield host, address
                count += 1
                if count == _MOST_ADDRESSES:
                    return
        if not count:
            raise problem

    def _is_forbidden(self, address: IPText) -> bool:
        """The owner of a recipient domain's DNS must not choose an internal machine, or this one."""
        if any(ipaddress.ip_address(address) in network for network in self._mx_networks):
            return False
        return is_special(address) or is_of_this_machine(address)

    def _no_address(self, host: Host, implicit: bool) -> NoHost:
        if implicit:
            # RFC 5321 section 5.1: neither MX nor address means the same as no such domain.
            return NoHost(Reply(550, "1.2", f"The domain {host.name} has no mail host"), Scope.RECIPIENT)
        # A configured name without an address is a mistake of ours (promise P5); an MX name may be corrected.
        scope = Scope.RECIPIENT if self.uses_mx else Scope.OURS
        said = f"The host {host.name} has no address in DNS"
        if scope is Scope.OURS:
            known = _find_in_hosts_file(host.name)
            said += f", and /etc/hosts, which has {known} for it, is not read" if known else ""
            said += (
                ": write its address into hosts" if known or "." in host.name else ": write its whole name into hosts"
            )
        return NoHost(Reply(451, "4.4", said), scope)


def _leads_inside(host: Host, address: IPText) -> NoHost:
    said = f"The mail host {host.name} has the address {address}, where no mail is sent ([delivery] mx_networks)"
    return NoHost(Reply(550, "4.4", said), Scope.RECIPIENT)


def is_of_this_machine(address: IPText) -> bool:
    """True when the system would connect to it from itself. Nothing is sent."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as tried:
            tried.connect((address, _SMTP_PORT))
            return ip_text(tried.getsockname()[0]) == address
    except OSError:
        return False  # there is no route to it
