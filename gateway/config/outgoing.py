"""The checks of the senders that may send through us, and of their route, together with the rest of the file."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.config.keyring import KeyringUnusable, KeyState, KeyUnusable, read_key, read_keyring
from gateway.config.mistakes import Problem
from gateway.config.providers import find_shared, find_strangers, tell_shared
from gateway.config.text_file import tell_unreadable
from gateway.config.valid_sections import ValidSections
from gateway.mail.domain import a_label
from gateway.model.place import KeyPath

DIRECT = "direct"
"""The route that always exists: the MX of each recipient's domain."""


def check_outgoing(sections: ValidSections) -> Iterator[Problem]:
    """All faults that a single setting does not show."""
    yield from _check_names(sections)
    yield from _check_networks(sections)
    yield from _check_domains(sections)
    yield from _check_routes(sections)
    yield from _check_roles(sections)
    yield from _check_certificates(sections)
    yield from _check_keyring(sections)


def _check_names(sections: ValidSections) -> Iterator[Problem]:
    """No name, and no login in any letter case, belongs to two senders."""
    names = sections.find_doubled(("sender", "name"), ("tenant", "name"))
    logins = sections.find_doubled(("sender", "login"), fold=str.lower)
    for path, text, first in (*names, *logins):
        yield Problem(path, f'"{text}" is already {first}', "write another")


def _check_networks(sections: ValidSections) -> Iterator[Problem]:
    """An address proves a sender only if no other client sends from it. A provider's own fields prove a tenant only if
    no other system sends from there."""
    for number, sender in enumerate(sections.config.sender):
        for at, network in enumerate(sender.networks):
            if shared := find_shared(network):
                said = f"{network} {tell_shared(network, shared, 'customers')}: we would relay for every one of them"
                path = sections.path("sender", number, "networks", at)
                yield Problem(path, said, "write a [[tenant]] with a proof instead")
    for number, tenant in enumerate(sections.config.tenant):
        for at, network in enumerate(tenant.networks):
            if why := find_strangers(network, tenant.provider):
                said = f"{network} {why}: others there could write what proves the tenant"
                fix = "list the networks of the provider alone, or leave it out: those that are known count then"
                yield Problem(sections.path("tenant", number, "networks", at), said, fix)


def _check_domains(sections: ValidSections) -> Iterator[Problem]:
    """Our senders write only in the name of our domains."""
    if not sections.is_complete("domain"):
        return
    ours = {domain.name for domain in sections.config.domain}
    named: list[tuple[KeyPath, str]] = []
    for number, sender in enumerate(sections.config.sender):
        named += [(sections.path("sender", number, "owns", at), one) for at, one in enumerate(sender.owns)]
        named.append((sections.path("sender", number, "forced"), sender.forced or ""))
    for number, tenant in enumerate(sections.config.tenant):
        named += [(sections.path("tenant", number, "domains", at), one) for at, one in enumerate(tenant.domains)]
    for path, identity in named:
        domain = a_label(identity.rpartition("@")[2])
        if domain is not None and domain not in ours:
            fix = f'add a [[domain]] with name = "{domain}", or remove it here'
            yield Problem(path, f"{domain} is no domain of ours", fix)


def _check_routes(sections: ValidSections) -> Iterator[Problem]:
    config = sections.config
    named: list[tuple[KeyPath, str]] = [
        (sections.path("tenant", number, "backend"), tenant.backend) for number, tenant in enumerate(config.tenant)
    ]
    named.append((("outbound", "route"), "" if config.outbound.route == DIRECT else config.outbound.route))
    for path, name in named:
        yield from sections.check_backend(path, name)


def _check_roles(sections: ValidSections) -> Iterator[Problem]:
    """A listener without possible clients, and senders that no listener accepts."""
    config = sections.config
    machines = any(sender.networks for sender in config.sender) or bool(config.tenant)
    if not machines and sections.is_complete("sender", "tenant"):
        for number, listener in enumerate(config.listener):
            if listener.role == "smarthost":
                said = "is smarthost, and nobody may send through it"
                path = sections.path("listener", number, "role")
                yield Problem(path, said, "add a [[sender]] with networks, or a [[tenant]]")
    if not sections.is_complete("listener"):
        return
    roles = {listener.role for listener in config.listener}
    wanted = [
        (sections.path("sender", number), "submission" if sender.login else "smarthost")
        for number, sender in enumerate(config.sender)
    ]
    wanted += [(sections.path("tenant", 0), "smarthost")] if config.tenant else []
    for path, role in wanted:
        if role not in roles:
            said = f"no listener has role {role}, so it cannot send"
            yield Problem(path, said, f'add a [[listener]] with role = "{role}"')


def _check_certificates(sections: ValidSections) -> Iterator[Problem]:
    """A tenant that no client certificate could ever prove."""
    listeners = sections.config.listener
    if not sections.is_complete("listener") or any(one.client_ca for one in listeners if one.role == "smarthost"):
        return
    for number, tenant in enumerate(sections.config.tenant):
        if tenant.certificates:
            said = "no listener of role smarthost asks for certificates"
            path = sections.path("tenant", number, "certificates")
            yield Problem(path, said, "set client_ca there, or remove it here")


def _check_keyring(sections: ValidSections) -> Iterator[Problem]:
    path, keys = ("outbound", "keyring"), sections.config.outbound.keyring
    if keys is None:
        return
    try:
        entries = read_keyring(keys)
    except KeyringUnusable as error:
        yield Problem(path, str(error), "fix it, or make new keys with `waypost key new`")
        return
    except OSError as error:
        yield Problem(path, *tell_unreadable(keys, error))
        return
    for entry in entries:
        if entry.state is not KeyState.SIGNING:
            continue
        try:
            read_key(keys, entry)
        except PermissionError as error:
            yield Problem(path, *tell_unreadable(keys / entry.file, error))
        except OSError as error:
            yield Problem(path, f"cannot read {keys / entry.file}: {error.strerror}", "put the key's file back")
        except KeyUnusable as error:
            yield Problem(path, f"{keys / entry.file} {error.problem}", error.fix)
