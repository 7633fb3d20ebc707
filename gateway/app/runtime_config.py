"""From a configuration to the runtime configuration: the part that can be replaced while the gateway runs."""

from __future__ import annotations

from pathlib import Path

from gateway.app.reading import read_config
from gateway.authentication.dnsbl import BlockList
from gateway.authentication.signing import Sealer, SigningKey
from gateway.config.keyring import KeyringUnusable, KeyState, KeyUnusable, read_key, read_keyring
from gateway.config.load import PartialConfig
from gateway.config.maps import DIRECT, make_srs, routing_table
from gateway.config.mistakes import ConfigErrors, Mistake
from gateway.config.model import Config
from gateway.config.policies import (
    client_checks,
    fact_settings,
    find_rules,
    greylist_terms,
    hold_terms,
    load_domain_rules,
    load_rules,
    read_senders,
)
from gateway.model.envelope import Mailbox
from gateway.model.value import replace
from gateway.net.system import load_signer, make_signer
from gateway.plan.departure import Outgoing
from gateway.plan.judgement import JudgementContext
from gateway.plan.sealing import Sealing
from gateway.ports import Signer
from gateway.service.runtime import RuntimeConfig


def make_runtime(config: Config, copies: bool = False) -> RuntimeConfig:
    """The runtime configuration; with `copies`, the last good copies replace broken maps. Raises RuleErrors,
    ConfigErrors."""
    hostname = config.server.hostname
    authserv_id = config.server.authserv_id or hostname
    rules, facts = load_rules(config), fact_settings(config)
    domain_rules = load_domain_rules(config, rules)
    sealing, client, hold = make_sealing(config), client_checks(config), hold_terms(config.hold)
    name = config.policy.shadow
    shadow = load_rules(config, name) if name not in ("", rules.name) else None
    greylist = greylist_terms(config.greylisting)
    context = JudgementContext(
        hostname, authserv_id, rules, facts, sealing, client, hold, domain_rules, shadow, greylist, make_srs(config)
    )
    return RuntimeConfig(config, context, routing_table(config, copies), make_outgoing(config))


_BESIDE = frozenset("listener submission limits admin log alarm retention".split())  # noqa: SIM905
"""Sections that neither a verdict nor a route depends on."""


def make_partial_runtime(partial: PartialConfig) -> RuntimeConfig:
    """The runtime configuration of a file that may be wrong where no verdict and no route depends on it, with the last
    good copies of maps. Raises RuleErrors, ConfigErrors."""
    partial.check(*(name for name in Config.model_fields if name not in _BESIDE))
    return make_runtime(partial.config, copies=True)


def make_trial(config: Config, policy: str) -> RuntimeConfig:
    """The runtime configuration with another rule set, given by name or file, in place of the configured one.
    Without a name it is unchanged. Raises RuleErrors, ConfigErrors."""
    runtime = make_runtime(config)
    if not policy:
        return runtime
    rules = find_rules(config, policy)
    return replace(
        runtime, context=replace(runtime.context, rules=rules, domain_rules=load_domain_rules(config, rules))
    )


def read_runtime(path: Path) -> RuntimeConfig:
    return make_runtime(read_config(path))


def route_dsn(runtime: RuntimeConfig, return_path: Mailbox) -> str:
    """The backend of a DSN: our routes for an own domain, else the configured backend or the recipient's MX."""
    return runtime.routing.backend_for(return_path) or runtime.config.delivery.dsn_backend or DIRECT


def with_lists(runtime: RuntimeConfig, lists: tuple[BlockList, ...]) -> RuntimeConfig:
    """The runtime configuration with these block lists in place of the configured ones."""
    return replace(runtime, context=replace(runtime.context, client=replace(runtime.context.client, lists=lists)))


def make_outgoing(config: Config) -> Outgoing:
    """The senders that may send through us, with their signing keys in memory. Raises ConfigErrors."""
    directory = config.outbound.keyring
    keys: list[SigningKey] = []
    try:
        for entry in read_keyring(directory) if directory else ():
            if entry.state is KeyState.SIGNING and directory:
                signer = make_signer(read_key(directory, entry))
                keys.append(SigningKey(entry.domain, entry.selector, entry.algorithm, signer.sign))
    except (OSError, KeyUnusable, KeyringUnusable) as error:
        raise ConfigErrors((Mistake(directory or Path(), 1, 0, "outbound.keyring", str(error)),)) from None
    return Outgoing(read_senders(config), tuple(keys), config.outbound.route)


def make_sealing(config: Config) -> Sealing | None:
    """ARC sealing, its key in memory; None when no backend wants it. Raises ConfigErrors."""
    backends = frozenset(name for name, backend in config.backend.items() if backend.seal)
    if config.seal is None or not backends:
        return None
    try:
        signer: Signer = load_signer(config.seal.key)
    except (OSError, KeyUnusable) as error:
        raise ConfigErrors((Mistake(config.seal.key, 1, 0, "seal.key", str(error)),)) from None
    return Sealing(Sealer(config.seal.domain, config.seal.selector, signer.sign), backends)
