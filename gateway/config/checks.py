"""The checks that need more than one setting, or a file: typed, over the valid sections of a ValidSections."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from gateway.config.keyring import KeyUnusable, read_signing_key
from gateway.config.listeners import check_listeners
from gateway.config.maps import check_address, check_targets, read_map
from gateway.config.mistakes import Problem
from gateway.config.outgoing import check_outgoing
from gateway.config.providers import find_shared, find_shared_signer, tell_shared
from gateway.config.rule_files import find_sets
from gateway.config.text_file import tell_unreadable
from gateway.config.valid_sections import ValidSections
from gateway.config.values import Network
from gateway.mail.domain import a_label, is_subdomain
from gateway.model.place import KeyPath


def check_seal(sections: ValidSections) -> Iterator[Problem]:
    """All faults of sealing that a single setting does not show."""
    seal = sections.config.seal
    for name, backend in sections.config.backend.items():
        if backend.seal and seal is None and sections.is_complete("seal"):
            fix = "add [seal] with domain, selector and key, or remove this"
            yield Problem(("backend", name, "seal"), "there is no key to seal with", fix)
    if seal is not None:
        yield from _check_key(seal.key)


def _check_key(file: Path) -> Iterator[Problem]:
    path = ("seal", "key")
    try:
        read_signing_key(file.read_bytes())
    except FileNotFoundError:
        yield Problem(path, f"no file {file}", "create it or fix its path")
    except OSError as error:
        yield Problem(path, *tell_unreadable(file, error))
    except KeyUnusable as error:
        yield Problem(path, error.problem, error.fix)


def check_sections(sections: ValidSections, check_maps: bool) -> Iterator[Problem]:
    """All faults that a single setting does not show; those in map files too, if requested."""
    yield from _check_domains(sections)
    yield from _check_backend_names(sections)
    yield from _check_addresses(sections)
    if check_maps:
        yield from _check_maps(sections)
    yield from _check_doubled(sections)
    yield from _check_return_paths(sections)
    yield from check_listeners(sections)
    yield from _check_trust(sections)
    yield from _check_files(sections)
    yield from _check_policy(sections)
    yield from _check_sources(sections)
    yield from check_seal(sections)
    yield from check_outgoing(sections)


def _check_domains(sections: ValidSections) -> Iterator[Problem]:
    config = sections.config
    if not config.listener and sections.is_complete("listener"):
        yield Problem(("listener",), "is empty", "write at least one [[listener]]")
    if not config.domain and sections.is_complete("domain"):
        yield Problem(("domain",), "is empty", "write at least one [[domain]]")
    routing = config.routing
    lists = routing.maps or routing.addresses or routing.http or routing.ldap
    for number, domain in enumerate(config.domain):
        path = sections.path("domain", number)
        if domain.mailboxes == "listed" and not lists and sections.is_complete("routing"):
            yield Problem((*path, "mailboxes"), "no mailbox is listed", "add [routing] addresses or maps")


_ALONE: tuple[tuple[str, bool, tuple[KeyPath, ...]], ...] = (
    ("remove one of the two", True, (("domain", "name"),)),
    ("write its codes there", True, (("dnsbl", "zone"),)),
    # Each fetched map has a file of its own.
    ("choose another", False, (("routing", "http", "name"), ("routing", "ldap", "name"))),
    ("write both in one", False, (("policy", "sender", "name"),)),
    ("write both in one", False, (("policy", "forwarder", "name"),)),
)
"""Settings of tables that no two tables may have alike: what to do, and whether they are domain names."""


def _check_doubled(sections: ValidSections) -> Iterator[Problem]:
    for fix, names_domain, places in _ALONE:
        for path, text, first in sections.find_doubled(*places, fold=_fold_domain if names_domain else str):
            yield Problem(path, f"{_fold_domain(text) if names_domain else text} is already {first}", fix)


def _fold_domain(text: str) -> str:
    return a_label(text) or text


def _check_backend_names(sections: ValidSections) -> Iterator[Problem]:
    config = sections.config
    named: list[tuple[KeyPath, str]] = [
        (sections.path("domain", number, "backend"), domain.backend) for number, domain in enumerate(config.domain)
    ]
    named.append((("routing", "outside"), config.routing.outside))
    for number, source in enumerate(config.routing.ldap):
        values = {"backend": source.backend, **source.backends}
        named += [(sections.path("routing", "ldap", number, key), value) for key, value in values.items()]
    named.append((("delivery", "dsn_backend"), config.delivery.dsn_backend))
    for path, name in named:
        yield from sections.check_backend(path, name)


def find_domains(sections: ValidSections) -> list[str]:
    """Our domains."""
    return [domain.name for domain in sections.config.domain]


def _check_addresses(sections: ValidSections) -> Iterator[Problem]:
    ours = find_domains(sections) if sections.is_complete("domain") else None
    for address, targets in sections.config.routing.addresses.items():
        problem, fix = check_address(address, ours)
        if not problem:
            problem, fix = check_targets(" ".join(targets), sections.backends)
        if problem:
            yield Problem(("routing", "addresses", address), problem, fix)


def _check_maps(sections: ValidSections) -> Iterator[Problem]:
    for number, file in enumerate(sections.config.routing.maps):
        if not file.is_file():
            yield Problem(sections.path("routing", "maps", number), f"no file {file}", "create it or fix its path")
        elif sections.is_complete("domain"):
            yield from read_map(file, find_domains(sections), sections.backends)[1]


def _check_return_paths(sections: ValidSections) -> Iterator[Problem]:
    srs = sections.config.srs
    if srs is not None and sections.is_complete("domain") and srs.domain not in find_domains(sections):
        said = f"{srs.domain} is not one of our domains"
        yield Problem(("srs", "domain"), said, "its bounces must come back: name a [[domain]]")


def _check_trust(sections: ValidSections) -> Iterator[Problem]:
    """A provider's own network proves nothing about its tenants; a hop is either a relay or one of ours."""
    config, only = sections.config, "list machines of your own only"
    relays: list[Network] = []
    for number, relay in enumerate(config.relay):
        yield from _check_shared(sections, ("relay", number, "addresses"), relay.addresses, only)
        relays += relay.addresses
    for number, hop in enumerate(config.own_hop):
        path: KeyPath = ("own_hop", number, "addresses")
        yield from _check_shared(sections, path, hop.addresses, only)
        for at, network in enumerate(hop.addresses):
            if any(one.version == network.version and network.overlaps(one) for one in relays):
                said = f"{network} is also a [[relay]]"
                fix = "list it once: relay where its mail comes from outside"
                yield Problem(sections.path(*path, at), said, fix)
    for number, listener in enumerate(config.listener):
        yield from _check_shared(sections, ("listener", number, "proxy_from"), listener.proxy_from, only)
        yield from _check_shared(sections, ("listener", number, "xclient_from"), listener.xclient_from, only)
    # A network that a provider shares among its tenants would make all mail from there a loop.
    for name, backend in config.backend.items():
        yield from _check_shared(sections, ("backend", name, "networks"), backend.networks, only)


def _check_files(sections: ValidSections) -> Iterator[Problem]:
    config = sections.config
    named: list[tuple[KeyPath, Path | None]] = [(("dns", "zone"), config.dns.zone)]
    for kind, sources in (("http", config.routing.http), ("ldap", config.routing.ldap)):
        named += [(sections.path("routing", kind, at, "ca_file"), one.ca_file) for at, one in enumerate(sources)]
    for name, backend in config.backend.items():
        files = (("ca_file", backend.ca_file), ("certificate", backend.certificate), ("key", backend.key))
        named += [(("backend", name, setting), file) for setting, file in files]
    for path, file in named:
        if file is not None and not file.is_file():
            yield Problem(path, f"no file {file}", "create it or fix its path")


def _check_policy(sections: ValidSections) -> Iterator[Problem]:
    policy = sections.config.policy
    if policy.directory is not None and not policy.directory.is_dir():
        yield Problem(("policy", "directory"), f"no directory {policy.directory}", "create it or fix its path")
        return
    sets = find_sets(policy.directory)
    named: list[tuple[KeyPath, str]] = [(("policy", "set"), policy.set), (("policy", "shadow"), policy.shadow)]
    named += [
        (sections.path("domain", at, "policy"), domain.policy) for at, domain in enumerate(sections.config.domain)
    ]
    for path, name in named:
        if name and name not in sets:
            yield Problem(path, f'no rule set named "{name}"', f"there are: {', '.join(sets)}")
    if policy.listed != "ignore" and not sections.config.dnsbl and sections.is_complete("dnsbl"):
        said = f"is {policy.listed}, and no block list is asked"
        yield Problem(("policy", "listed"), said, "add a [[dnsbl]], or remove it")


def _check_sources(sections: ValidSections) -> Iterator[Problem]:
    """The proof of a named sender or forwarder is not shared with all tenants of a provider."""
    policy = sections.config.policy
    for section, sources in (("sender", policy.sender), ("forwarder", policy.forwarder)):
        for number, one in enumerate(sources):
            fix = "name it by its DKIM d= instead"
            yield from _check_shared(sections, ("policy", section, number, "networks"), one.networks, fix)
            yield from _check_signers(sections, ("policy", section, number, "dkim"), one.dkim)
    yield from _check_written_as(sections)


def _check_written_as(sections: ValidSections) -> Iterator[Problem]:
    """No permission is needed to write as a stranger. Such a permission would let forgers of that stranger in."""
    if not sections.is_complete("domain", "policy"):
        return
    known = {*find_domains(sections), *sections.config.policy.protected_domains}
    for number, one in enumerate(sections.config.policy.sender):
        for at, domain in enumerate(one.domains):
            if not any(is_subdomain(domain, zone) for zone in known):
                said = f"{domain} is not one of your domains, nor protected"
                fix = "name whoever passes its mail on in a [[policy.forwarder]], or remove it"
                yield Problem(sections.path("policy", "sender", number, "domains", at), said, fix)


def _check_signers(sections: ValidSections, path: KeyPath, domains: Iterable[str]) -> Iterator[Problem]:
    """A d= that a service uses for the mail of all its customers would let every one of them in."""
    for at, domain in enumerate(domains):
        if shared := find_shared_signer(domain):
            said = f"{domain} signs for all customers of {shared.name}, so each of them could"
            if "forwarder" in path:
                fix = "name the forwarder by networks that only it sends from, or by a signature of its own"
                yield Problem(sections.path(*path, at), f"{said} write as anyone", fix)
            else:
                yield Problem(sections.path(*path, at), f"{said} write as you", shared.remedy)


def _check_shared(sections: ValidSections, path: KeyPath, networks: Iterable[Network], fix: str) -> Iterator[Problem]:
    """A network that a provider shares among its tenants belongs to none of them."""
    for at, network in enumerate(networks):
        if shared := find_shared(network):
            said = f"{network} {tell_shared(network, shared, 'tenants')}"
            yield Problem(sections.path(*path, at), said, fix)
