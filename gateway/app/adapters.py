"""From a configuration to the adapters of the ports."""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.app.reading import read_config
from gateway.app.runtime_config import make_runtime
from gateway.config.backends import BackendSettings
from gateway.config.maps import DIRECT, map_files
from gateway.config.model import Config
from gateway.config.recipients import HttpMap, LdapMap, LoginSource, MapSource
from gateway.config.text_file import read_text
from gateway.mail.path import mailbox
from gateway.model.envelope import Mailbox
from gateway.net.http_map import HttpSource, Webhook
from gateway.net.resolver import DnsResolver, ZoneResolver, read_zone
from gateway.net.smtp_backend import make_smtp_backend
from gateway.net.system import SystemClock
from gateway.ports import Backend, Clock, EventSink, Resolver, Spool, Tally
from gateway.service.alarms import Courier, MailCourier
from gateway.service.importer import Import
from gateway.service.traffic import Share, Traffic
from gateway.spool.rows import RetentionPeriods
from gateway.tools.simulate import SimulationContext


def make_resolver(config: Config, zone: str | None = None) -> Resolver:
    """DNS from a zone's text, from the configured zone file, or from the network. Raises OSError, ZoneError."""
    if zone is None and config.dns.zone is not None:
        zone = read_text(config.dns.zone)
    if zone is not None:
        return ZoneResolver(read_zone(zone))
    return DnsResolver(config.dns.nameservers, config.dns.query_seconds, SystemClock().monotonic)


def make_simulation_context() -> SimulationContext:
    """The adapters that `simulate` needs."""
    return SimulationContext(read_config, make_runtime, make_resolver, time.time)


def make_retention(config: Config) -> RetentionPeriods:
    """The spool's retention periods."""
    kept = config.retention
    return RetentionPeriods(kept.delivered, kept.failed, kept.trace, kept.refused_octets)


def make_traffic(config: Config, clock: Clock, emit: EventSink, tally: Tally) -> Traffic:
    """The flow control of all backends. Each worker has its part of the rate."""
    shares = {
        name: Share(one.connections, one.messages_per_minute / tally.workers) for name, one in _backends(config).items()
    }
    return Traffic(shares, clock, emit)


def make_imports(config: Config) -> list[Import]:
    """The maps that are fetched."""
    files = [file for file in map_files(config) if file.remote]
    return [
        Import(_make_source(settings), file.path, file.stamp, settings.every, isinstance(settings, HttpMap))
        for settings, file in zip(config.routing.remote, files, strict=True)
    ]


def _make_source(settings: HttpMap | LdapMap) -> MapSource:
    if isinstance(settings, HttpMap):
        return HttpSource(settings)
    # Its library is large, and few configurations need it.
    from gateway.net.ldap import LdapSource

    return LdapSource(settings)


def make_login_source(config: Config) -> LoginSource | None:
    """The directory for logins, besides the users' file."""
    if config.submission.ldap is None:
        return None
    from gateway.net.ldap import LdapLogins

    return LdapLogins(config.submission.ldap)


def make_couriers(
    config: Config, spool: Spool, clock: Clock, route: Callable[[Mailbox], str], wake: Callable[[], None]
) -> tuple[Courier, ...]:
    """The couriers that send alarms."""
    settings, hostname = config.alarm, config.server.hostname
    couriers: list[Courier] = [Webhook(settings.webhook, hostname)] if settings.webhook else []
    to = [found for text in settings.mail if (found := mailbox(text))]
    if to:
        couriers.append(MailCourier(to, hostname, spool, clock, route, wake))
    return tuple(couriers)


def make_backends(config: Config, resolver: Resolver, clock: Clock, tally: Tally) -> dict[str, Backend]:
    """Every next hop by its name. Raises OSError for unreadable authorities."""
    settings = _backends(config)
    hostname = config.server.hostname
    allowed = config.delivery.mx_networks
    return {
        name: make_smtp_backend(name, one, resolver, clock, hostname, tally, allowed) for name, one in settings.items()
    }


def _backends(config: Config) -> dict[str, BackendSettings]:
    return {DIRECT: BackendSettings(hosts=("mx",)), **config.backend}
