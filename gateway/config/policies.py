"""From the configuration to the runtime configuration: the rule files, and the settings that facts need."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from gateway.authentication.dnsbl import BlockList
from gateway.config.judging import Forwarder, GreylistSettings, Holding
from gateway.config.model import Config
from gateway.config.providers import provider_networks, shared_networks
from gateway.config.rule_files import find_files
from gateway.config.text_file import TextUnfit, read_text
from gateway.mail.path import mailbox
from gateway.model.decision import Stage
from gateway.model.delivery import Quota
from gateway.model.place import locate
from gateway.plan.client import ClientChecks
from gateway.plan.greylisting import GreylistTerms
from gateway.plan.holding import HoldTerms
from gateway.plan.settlement import Terms
from gateway.policy.grounds import Source
from gateway.policy.load import load
from gateway.policy.rules import RuleErrors, RuleMistake, RuleSet
from gateway.policy.sender import Identity, Senders, Tenant
from gateway.policy.weighing import FactSettings

_STRING = re.compile(r"""("[^"\n]*"|'[^'\n]*')""")
_HEADER = re.compile(r"[ \t]*\[[ \t]*policy[ \t]*\][ \t]*(?:#.*)?")


class NotWritten(ValueError):
    """The set cannot be named in the file; the text gives the line to write by hand."""


def name_set(text: str, name: str) -> str:
    """The configuration with `set = "name"` in [policy]. Raises NotWritten if that takes more than one line."""
    tree = tomllib.loads(text)
    before = tree.get("policy", {}).get("set", "")
    if isinstance(before, str) and before.startswith(("env:", "file:")):
        raise NotWritten(f'policy.set is "{before}": change it there to "{name}", then: waypost reload')
    changed = _change(text, name)
    if _read(changed) != {**tree, "policy": {**tree.get("policy", {}), "set": name}}:
        raise NotWritten(f'write set = "{name}" into [policy] by hand, then: waypost reload')
    return changed


def _change(text: str, name: str) -> str:
    lines = text.splitlines(keepends=True)
    places = locate(text)
    place = places.get(("policy", "set"))
    if place is not None:
        at = place.value_line - 1
        # The column is that of the first character, so the quote is before it.
        start = place.value_column - 2
        lines[at] = lines[at][:start] + _STRING.sub(f'"{name}"', lines[at][start:], count=1)
        return "".join(lines)
    setting = f'set = "{name}"\n'
    header = next((at for at, line in enumerate(lines) if _HEADER.fullmatch(line.rstrip("\r\n"))), None)
    if header is None:
        return text + ("" if text.endswith("\n") or not text else "\n") + f"\n[policy]\n{setting}"
    return "".join([*lines[: header + 1], setting, *lines[header + 1 :]])


def _read(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {}


def read_senders(config: Config) -> Senders:
    """All senders that [[sender]] and [[tenant]] name."""
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


_UNASKED = "the set of one domain is not asked then; move the rule to stage rcpt, or into the set of [policy]"


def read_policies(configured: Path | None) -> dict[str, str]:
    """Every rule file by its name, for `gateway.policy.load.load`. Raises RuleErrors for an unreadable one."""
    texts, mistakes = {}, []
    for file in find_files(configured).values():
        try:
            texts[file.name] = read_text(file, toml=True)
        except TextUnfit as error:
            mistakes.append(RuleMistake(str(file), error.line, "", f"{error.problem}; {error.fix}"))
    if mistakes:
        raise RuleErrors(tuple(mistakes))
    return texts


def load_rules(config: Config, name: str = "") -> RuleSet:
    """The rule set that the configuration names, or another one from the same directory. Raises RuleErrors."""
    return load_set(name or config.policy.set, config.policy.directory)


def load_set(name: str, configured: Path | None) -> RuleSet:
    """A rule set by its name. Raises RuleErrors."""
    return load(name, read_policies(configured))


def name_domain_sets(config: Config) -> dict[str, str]:
    """The domains with another set than the general one."""
    return {domain.name: domain.policy for domain in config.domain if domain.policy not in ("", config.policy.set)}


def find_rules(config: Config, wanted: str) -> RuleSet:
    """A rule set by its name, or by its file, which may include the configured ones and those in its own directory.
    Raises RuleErrors."""
    file = Path(wanted)
    if file.suffix != ".toml":
        return load_rules(config, wanted)
    if not file.is_file():
        raise RuleErrors((RuleMistake(wanted, 1, "", "there is no such file"),))
    texts = {**read_policies(config.policy.directory), **read_policies(file.absolute().parent)}
    return load(file.stem, texts)


def load_domain_rules(config: Config, general: RuleSet) -> dict[str, RuleSet]:
    """The rule sets of the domains with another set than the general one. Raises RuleErrors."""
    names = name_domain_sets(config)
    sets = {name: load_rules(config, name) for name in sorted(set(names.values()))}
    mistakes = tuple(
        RuleMistake(rule.file, rule.line, rule.id, f"stage: {stage} is before a recipient is named: {_UNASKED}")
        for one in sets.values()
        for stage in (Stage.CONNECT, Stage.MAIL)
        for rule in one.rules[stage]
        if (rule.file, rule.line) not in {(other.file, other.line) for other in general.rules[stage]}
    )
    if mistakes:
        raise RuleErrors(mistakes)
    return {domain: sets[name] for domain, name in names.items()}


def client_checks(config: Config) -> ClientChecks:
    """The DNS checks of the client."""
    lists = tuple(
        BlockList(one.zone, tuple(code for code in one.codes if isinstance(code, IPv4Network))) for one in config.dnsbl
    )
    return ClientChecks(config.policy.fcrdns, lists)


def hold_terms(settings: Holding) -> HoldTerms:
    """The limits on held mail."""
    quota = Quota(settings.domain_messages, settings.domain_octets, settings.messages, settings.octets)
    return HoldTerms(settings.expire, quota)


def greylist_terms(settings: GreylistSettings) -> GreylistTerms | None:
    """The waiting time of a new sender, and the memory of it; None when greylisting is off."""
    return GreylistTerms(settings.delay, settings.retry, settings.keep) if settings.enabled else None


def fact_settings(config: Config) -> FactSettings:
    """The part of the configuration that a message's facts need."""
    return FactSettings(
        own=frozenset(domain.name for domain in config.domain),
        protected=frozenset(config.policy.protected_domains),
        firewall=config.policy.firewall,
        trusted_sealers=frozenset(config.policy.trusted_sealers),
        relays=frozenset(name.lower() for relay in config.relay for name in relay.by),
        senders=tuple(_source(one, one.domains) for one in config.policy.sender),
        forwarders=tuple(_source(one) for one in config.policy.forwarder),
        networks=config.policy.networks,
        listed=config.policy.listed,
        enforced=frozenset(config.policy.enforce_for),
        names=frozenset({config.server.hostname.lower()}),
        shared=shared_networks(),
        help=config.policy.help,
    )


def _source(one: Forwarder, domains: Collection[str] = ()) -> Source:
    return Source(one.name, frozenset(one.dkim), one.networks, frozenset(domains))


def retry_terms(config: Config) -> Terms:
    """The duration of retries, and the time of the sender's notice."""
    settings = config.delivery
    times = settings.schedule, settings.expire, settings.delay_warning
    return Terms(config.server.hostname, *times, hold_terms(config.hold))
