"""The routing table, from the configuration and from address maps: files, and copies of what was fetched."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from gateway.config.map_file import read_map
from gateway.config.mistakes import Problem, place_problems
from gateway.config.model import Config
from gateway.mail.path import mailbox
from gateway.mail.srs import Srs
from gateway.model.value import Value
from gateway.policy.routing import RoutingTable

DIRECT = "direct"
"""The backend that is always there: the MX of the recipient's domain, with opportunistic TLS."""


class MapFile(Value):
    """A file with addresses, and where its last good copy is."""

    path: Path
    copy: Path
    """The file itself for what is fetched: only what is good gets there."""
    remote: bool = False
    """It is fetched: that it is old or absent does not show that anything is wrong with the file."""

    @property
    def stamp(self) -> Path:
        """A file that is touched each time the fetched map was found to be good."""
        return self.copy.with_suffix(".seen")


def map_files(config: Config) -> tuple[MapFile, ...]:
    """Every map, in the order in which they are asked."""
    kept = config.server.spool / "maps"
    files = [MapFile(path, kept / f"{path.stem}-{_short_digest(path)}{path.suffix}") for path in config.routing.maps]
    fetched = [kept / f"{one.name}.csv" for one in config.routing.remote]
    return (*files, *(MapFile(path, path, remote=True) for path in fetched))


def routing_table(config: Config, copies: bool = False) -> RoutingTable:
    """The table that recipients are routed by. An address of the configuration wins over one of a map, and an
    earlier map over a later one.

    With `copies` the last good copy takes the place of a file that cannot be used. Raises ConfigErrors when there is
    none either. A map that was never fetched is empty, and the table is stale.
    """
    addresses: dict[str, str] = {}
    maps: list[Mapping[str, str]] = []
    for address, targets in config.routing.addresses.items():
        found = mailbox(address)
        if found is not None:
            addresses[found.key] = " ".join(targets)
    problems: list[Problem] = []
    never = False
    for file in map_files(config):
        absent = file.remote and not file.path.exists()
        entries, wrong = ({}, []) if absent else _read(file, config, copies)
        never = never or absent
        problems += wrong
        maps.append(entries)
    if problems:
        raise place_problems(problems, Path(), {})
    return RoutingTable(
        {domain.name: domain.backend for domain in config.domain},
        addresses,
        frozenset(name for name, backend in config.backend.items() if backend.one_domain_per_transaction),
        maps=tuple(maps),
        listed=frozenset(domain.name for domain in config.domain if domain.mailboxes == "listed"),
        stale=never,
        callout=frozenset(domain.name for domain in config.domain if domain.callout),
        origins={name: backend.networks for name, backend in config.backend.items() if backend.networks},
        outside=config.routing.outside or DIRECT,
        srs=make_srs(config),
    )


def make_srs(config: Config) -> Srs | None:
    """Rewrites return paths; None when none are rewritten."""
    if config.srs is None:
        return None
    return Srs(config.srs.domain, tuple(secret.encode() for secret in (config.srs.secret, *config.srs.previous)))


def our_domains(config: Config) -> frozenset[str]:
    """The domains that a map's addresses may be of."""
    return frozenset(domain.name for domain in config.domain)


def _read(file: MapFile, config: Config, copies: bool) -> tuple[dict[str, str], list[Problem]]:
    domains = our_domains(config)
    entries, wrong = read_map(file.path, domains, config.backend)
    if (wrong or not entries) and (copies or file.remote) and file.copy.exists():
        # What the configuration has dropped since is dropped there too.
        entries, _ = read_map(file.copy, domains, config.backend)
        return entries, []
    return entries, wrong


def _short_digest(path: Path) -> str:
    return hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()[:8]
