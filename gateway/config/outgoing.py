"""What is wrong with who may send through us, and with the way out, seen beside the rest of the file."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from gateway.config.keyring import KeyringUnusable, KeyState, read_key, read_keyring
from gateway.config.keys import KeyUnusable
from gateway.config.mistakes import Problem
from gateway.config.providers import find_shared, find_strangers
from gateway.config.tree import find_table, find_tables
from gateway.mail.domain import a_label
from gateway.model.place import KeyPath

DIRECT = "direct"
"""The way out that is always there: the MX of each recipient's domain."""


def check_outgoing(tree: dict[str, Any], directory: Path) -> Iterator[Problem]:
    """Everything wrong that a single setting does not show."""
    yield from _check_names(tree)
    yield from _check_networks(tree)
    yield from _check_tenant_networks(tree)
    yield from _check_domains(tree)
    yield from _check_routes(tree)
    yield from _check_roles(tree)
    yield from _check_certificates(tree)
    yield from _check_keyring(tree, directory)


def _check_names(tree: dict[str, Any]) -> Iterator[Problem]:
    """No name, and no login in any letter case, is two senders."""
    for setting, sections in (("name", ("sender", "tenant")), ("login", ("sender",))):
        seen: dict[str, str] = {}
        for section in sections:
            for number, table in find_tables(tree, section):
                value = table.get(setting)
                if not isinstance(value, str) or not value:
                    continue
                here = f"{section}[{number}]"
                key = value.lower() if setting == "login" else value
                if key in seen:
                    yield Problem((section, number, setting), f'"{value}" is already {seen[key]}', "write another")
                seen.setdefault(key, here)


def _check_networks(tree: dict[str, Any]) -> Iterator[Problem]:
    """An address proves a sender only where nobody else sends from it."""
    for number, sender in find_tables(tree, "sender"):
        networks = sender.get("networks")
        for at, text in enumerate(networks if isinstance(networks, list) else [networks]):
            try:
                shared = find_shared(ip_network(text)) if isinstance(text, str) else None
            except ValueError:
                continue
            if shared:
                said = (
                    f"{text} reaches into {shared[1]}, which all customers of {shared[0]} send from: we would relay "
                    "for every one of them"
                )
                yield Problem(("sender", number, "networks", at), said, "write a [[tenant]] with a proof instead")


def _check_tenant_networks(tree: dict[str, Any]) -> Iterator[Problem]:
    """What a provider stamps proves a tenant only where nobody but this provider sends from."""
    for number, tenant in find_tables(tree, "tenant"):
        networks, provider = tenant.get("networks"), str(tenant.get("provider"))
        for at, text in enumerate(networks if isinstance(networks, list) else [networks]):
            try:
                why = find_strangers(ip_network(text), provider) if isinstance(text, str) else ""
            except ValueError:
                continue
            if why:
                said = f"{text} {why}: others there could write what proves the tenant"
                fix = "list the networks of the provider alone, or leave it out: those that are known count then"
                yield Problem(("tenant", number, "networks", at), said, fix)


def _check_domains(tree: dict[str, Any]) -> Iterator[Problem]:
    """Who sends through us writes in our name only."""
    ours = {a_label(str(table.get("name"))) for _, table in find_tables(tree, "domain")}
    for section, setting in (("sender", "owns"), ("sender", "forced"), ("tenant", "domains")):
        for number, table in find_tables(tree, section):
            value = table.get(setting)
            items = value if isinstance(value, list) else [value]
            for at, item in enumerate(items):
                domain = a_label(item.rpartition("@")[2]) if isinstance(item, str) else None
                if domain is not None and domain not in ours:
                    path: KeyPath = (section, number, setting, at)
                    fix = f'add a [[domain]] with name = "{domain}", or remove it here'
                    yield Problem(path if isinstance(value, list) else path[:3], f"{domain} is no domain of ours", fix)


def _check_routes(tree: dict[str, Any]) -> Iterator[Problem]:
    backends = list(find_table(tree, "backend"))
    named: list[tuple[KeyPath, Any]] = [
        (("tenant", number, "backend"), tenant.get("backend") or None) for number, tenant in find_tables(tree, "tenant")
    ]
    route = find_table(tree, "outbound").get("route")
    named.append((("outbound", "route"), None if route == DIRECT else route))
    for path, name in named:
        if isinstance(name, str) and name not in backends:
            close = get_close_matches(name, backends, 1)
            yield Problem(
                path,
                f'no backend named "{name}"',
                f'did you mean "{close[0]}"?' if close else f"there are: {', '.join(backends) or 'none'}",
            )


def _check_roles(tree: dict[str, Any]) -> Iterator[Problem]:
    """A listener that nobody could use, and senders whom no listener lets in."""
    roles = {listener.get("role") for _, listener in find_tables(tree, "listener")}
    machines = any(table.get("networks") for _, table in find_tables(tree, "sender")) or bool(
        find_tables(tree, "tenant")
    )
    for number, listener in find_tables(tree, "listener"):
        if listener.get("role") == "smarthost" and not machines:
            said = "is smarthost, and nobody may send through it"
            yield Problem(("listener", number, "role"), said, "add a [[sender]] with networks, or a [[tenant]]")
    wanted = (
        (number, "submission" if table.get("login") else "smarthost") for number, table in find_tables(tree, "sender")
    )
    for number, role in wanted:
        if role not in roles:
            said = f"no listener has role {role}, so it cannot send"
            yield Problem(("sender", number), said, f'add a [[listener]] with role = "{role}"')
    if find_tables(tree, "tenant") and "smarthost" not in roles:
        said = "no listener has role smarthost, so it cannot send"
        yield Problem(("tenant", 0), said, 'add a [[listener]] with role = "smarthost"')


def _check_certificates(tree: dict[str, Any]) -> Iterator[Problem]:
    """A tenant that nobody could ever be by its certificate."""
    smarthosts = [table for _, table in find_tables(tree, "listener") if table.get("role") == "smarthost"]
    if any(table.get("client_ca") for table in smarthosts):
        return
    for number, tenant in find_tables(tree, "tenant"):
        if tenant.get("certificates"):
            said = "no listener of role smarthost asks for certificates"
            yield Problem(("tenant", number, "certificates"), said, "set client_ca there, or remove it here")


def _check_keyring(tree: dict[str, Any], directory: Path) -> Iterator[Problem]:
    path = ("outbound", "keyring")
    named = find_table(tree, "outbound").get("keyring")
    if not isinstance(named, str):
        return
    keys = directory / named
    try:
        entries = read_keyring(keys)
    except KeyringUnusable as error:
        yield Problem(path, str(error), "mend it, or make new keys with `waypost key new`")
        return
    except OSError as error:
        yield Problem(path, f"cannot read {keys}: {error.strerror}", "give the gateway's user the right")
        return
    for entry in entries:
        if entry.state is not KeyState.SIGNING:
            continue
        try:
            read_key(keys, entry)
        except OSError as error:
            yield Problem(path, f"cannot read {keys / entry.file}: {error.strerror}", "put the key's file back")
        except KeyUnusable as error:
            yield Problem(path, f"{keys / entry.file} {error.problem}", error.fix)
