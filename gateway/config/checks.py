"""What one setting says about another, and about files. They work on the plain tree, so that each mistake is found
beside any other: a setting of the wrong type is silently passed over here, the model reports it."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from gateway.config.listeners import check_listeners
from gateway.config.map_file import check_address, check_targets, read_map
from gateway.config.mistakes import Problem
from gateway.config.outgoing import check_outgoing
from gateway.config.policies import find_sets
from gateway.config.providers import find_shared
from gateway.config.sealing import check_seal
from gateway.config.tree import find_table, find_tables
from gateway.mail.domain import a_label
from gateway.model.place import KeyPath

_LISTS = ("maps", "addresses", "http", "ldap")
"""Settings of [routing] that list mailboxes."""


def check_tree(tree: dict[str, Any], directory: Path, check_maps: bool) -> Iterator[Problem]:
    """Everything wrong that a single setting does not show; in the files of maps too, if asked for."""
    yield from _check_domains(tree)
    yield from _check_backend_names(tree)
    yield from _check_addresses(tree)
    if check_maps:
        yield from _check_maps(tree, directory)
    yield from _check_remote(tree)
    yield from _check_return_paths(tree)
    yield from check_listeners(tree, directory)
    yield from _check_trust(tree)
    yield from _check_origins(tree)
    yield from _check_files(tree, directory)
    yield from _check_policy(tree, directory)
    yield from _check_sources(tree)
    yield from check_seal(tree, directory)
    yield from check_outgoing(tree, directory)
    yield from _check_lists(tree)


def _check_domains(tree: dict[str, Any]) -> Iterator[Problem]:
    for key in ("listener", "domain"):
        if tree.get(key) == []:
            yield Problem((key,), "is empty", f"write at least one [[{key}]]")
    seen: dict[str, int] = {}
    for number, domain in find_tables(tree, "domain"):
        name = _domain_name(domain)
        routing = find_table(tree, "routing")
        if domain.get("mailboxes") == "listed" and not any(routing.get(key) for key in _LISTS):
            yield Problem(("domain", number, "mailboxes"), "no mailbox is listed", "add [routing] addresses or maps")
        if name in seen:
            path = ("domain", number, "name")
            yield Problem(path, f"{name} is already domain[{seen[name]}]", "remove one of the two")
        elif name:
            seen[name] = number


def _check_lists(tree: dict[str, Any]) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for number, one in find_tables(tree, "dnsbl"):
        zone = one.get("zone")
        name = a_label(zone) if isinstance(zone, str) else None
        if name and seen.setdefault(name, number) != number:
            yield Problem(("dnsbl", number, "zone"), f"{name} is already dnsbl[{seen[name]}]", "write its codes there")


def _check_backend_names(tree: dict[str, Any]) -> Iterator[Problem]:
    named: list[tuple[KeyPath, Any]] = [
        (("domain", number, "backend"), domain.get("backend")) for number, domain in find_tables(tree, "domain")
    ]
    routing = find_table(tree, "routing")
    named.append((("routing", "outside"), routing.get("outside") or None))
    for number, source in find_tables(routing, "ldap"):
        values = {"backend": source.get("backend"), **find_table(source, "backends")}
        named += [(("routing", "ldap", number, key), value) for key, value in values.items()]
    named.append((("delivery", "dsn_backend"), find_table(tree, "delivery").get("dsn_backend") or None))
    backends = list(find_table(tree, "backend"))
    for path, name in named:
        if isinstance(name, str) and name not in backends:
            close = get_close_matches(name, backends, 1)
            fix = f'did you mean "{close[0]}"?' if close else f"there are: {', '.join(backends) or 'none'}"
            yield Problem(path, f'no backend named "{name}"', fix)


def _check_addresses(tree: dict[str, Any]) -> Iterator[Problem]:
    ours, backends = _our_domains(tree), list(find_table(tree, "backend"))
    for address, targets in find_table(find_table(tree, "routing"), "addresses").items():
        problem, fix = check_address(address, ours)
        if not problem and isinstance(targets, str | list):
            words = [targets] if isinstance(targets, str) else [word for word in targets if isinstance(word, str)]
            problem, fix = check_targets(" ".join(words), backends)
        if problem:
            yield Problem(("routing", "addresses", address), problem, fix)


def _check_maps(tree: dict[str, Any], directory: Path) -> Iterator[Problem]:
    maps = find_table(tree, "routing").get("maps")
    for number, name in enumerate(maps if isinstance(maps, list) else ()):
        if not isinstance(name, str):
            continue
        file = directory / name
        if not file.is_file():
            yield Problem(("routing", "maps", number), f"no file {file}", "create it or mend its path")
        else:
            yield from read_map(file, _our_domains(tree), find_table(tree, "backend"))[1]


def _check_remote(tree: dict[str, Any]) -> Iterator[Problem]:
    """Each fetched map has a file of its own."""
    seen: set[str] = set()
    for kind in ("http", "ldap"):
        for number, source in find_tables(find_table(tree, "routing"), kind):
            name = source.get("name")
            if isinstance(name, str) and name in seen:
                yield Problem(
                    ("routing", kind, number, "name"), f'"{name}" is the name of another one', "choose another"
                )
            seen.add(str(name))


def _check_return_paths(tree: dict[str, Any]) -> Iterator[Problem]:
    domain = find_table(tree, "srs").get("domain")
    name = a_label(domain) if isinstance(domain, str) else None
    if name and name not in _our_domains(tree):
        yield Problem(
            ("srs", "domain"), f"{name} is no domain of ours", "its bounces must come back: name a [[domain]]"
        )


def _check_trust(tree: dict[str, Any]) -> Iterator[Problem]:
    """A provider's own network proves nothing about its tenants; a hop is either a relay or one of ours."""
    trusted: list[tuple[KeyPath, Any]] = []
    for section, setting in (
        ("relay", "addresses"),
        ("own_hop", "addresses"),
        ("listener", "proxy_from"),
        ("listener", "xclient_from"),
    ):
        for number, table in find_tables(tree, section):
            value = table.get(setting)
            path: KeyPath = (section, number, setting)
            if isinstance(value, list):
                trusted += [((*path, at), item) for at, item in enumerate(value)]
            else:
                trusted.append((path, value))
    relays = []
    for path, text in trusted:
        try:
            network = ip_network(text) if isinstance(text, str) else None
        except ValueError:
            continue
        if network is None:
            continue
        shared = find_shared(network)
        if shared:
            provider, theirs = shared
            said = f"{network} reaches into {theirs}, which all tenants of {provider} send from"
            yield Problem(path, said, "list machines of your own only")
        if path[0] == "relay":
            relays.append(network)
        if path[0] == "own_hop" and any(one.version == network.version and network.overlaps(one) for one in relays):
            yield Problem(
                path, f"{network} is also a [[relay]]", "list it once: relay where its mail comes from outside"
            )


def _check_origins(tree: dict[str, Any]) -> Iterator[Problem]:
    """A network that a provider shares among its tenants would make everybody's mail from there a loop."""
    for name, backend in find_table(tree, "backend").items():
        value = backend.get("networks") if isinstance(backend, dict) else None
        for at, text in enumerate(value if isinstance(value, list) else [value]):
            yield from _check_shared(("backend", name, "networks", at), text, "list machines of your own only")


def _check_files(tree: dict[str, Any], directory: Path) -> Iterator[Problem]:
    named: list[tuple[KeyPath, Any]] = [(("dns", "zone"), find_table(tree, "dns").get("zone"))]
    for kind in ("http", "ldap"):
        for number, source in find_tables(find_table(tree, "routing"), kind):
            named.append((("routing", kind, number, "ca_file"), source.get("ca_file")))
    for name, backend in find_table(tree, "backend").items():
        if isinstance(backend, dict):
            named += [(("backend", name, key), backend.get(key)) for key in ("ca_file", "certificate", "key")]
    for path, file in named:
        if isinstance(file, str) and not (directory / file).is_file():
            yield Problem(path, f"no file {directory / file}", "create it or mend its path")


def _check_policy(tree: dict[str, Any], directory: Path) -> Iterator[Problem]:
    policy = find_table(tree, "policy")
    value = policy.get("directory")
    configured = directory / value if isinstance(value, str) else None
    if configured is not None and not configured.is_dir():
        yield Problem(("policy", "directory"), f"no directory {configured}", "create it or mend its path")
        return
    sets = find_sets(configured)
    named: list[tuple[KeyPath, Any]] = [(("policy", "set"), policy.get("set", "enforce"))]
    named.append((("policy", "shadow"), policy.get("shadow") or None))
    named += [(("domain", at, "policy"), domain.get("policy") or None) for at, domain in find_tables(tree, "domain")]
    for path, name in named:
        if isinstance(name, str) and name not in sets:
            yield Problem(path, f'no rule set named "{name}"', f"there are: {', '.join(sets)}")


def _check_sources(tree: dict[str, Any]) -> Iterator[Problem]:
    """Named senders and forwarders: a name stands for one, and what everybody's tenants send from proves nothing."""
    for section in ("sender", "forwarder"):
        seen: dict[str, int] = {}
        for number, one in find_tables(find_table(tree, "policy"), section):
            path: KeyPath = ("policy", section, number)
            name, networks = one.get("name"), one.get("networks")
            if isinstance(name, str) and seen.setdefault(name, number) != number:
                yield Problem((*path, "name"), f"{name} is already {section}[{seen[name]}]", "write both in one")
            for at, text in enumerate(networks if isinstance(networks, list) else [networks]):
                yield from _check_shared((*path, "networks", at), text, "name it by its DKIM d= instead")


def _check_shared(path: KeyPath, text: object, fix: str) -> Iterator[Problem]:
    """A network that a provider shares among its tenants is nobody's own."""
    try:
        shared = find_shared(ip_network(text)) if isinstance(text, str) else None
    except ValueError:
        return
    if shared:
        yield Problem(path, f"{text} reaches into {shared[1]}, which all tenants of {shared[0]} send from", fix)


def _our_domains(tree: dict[str, Any]) -> list[str]:
    return [name for _, domain in find_tables(tree, "domain") if (name := _domain_name(domain))]


def _domain_name(domain: dict[str, Any]) -> str | None:
    name = domain.get("name")
    return a_label(name) if isinstance(name, str) else None
