"""The routing table, from the configuration and from address maps: files, and copies of fetched maps."""

from __future__ import annotations

import csv
import hashlib
import io
import tomllib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path

from gateway.config.mistakes import Problem, place_problems, tell_repeats
from gateway.config.model import Config
from gateway.config.text_file import TextUnfit, read_text
from gateway.mail.path import mailbox
from gateway.mail.srs import Srs
from gateway.model.place import locate, nearest
from gateway.model.value import Value
from gateway.policy.routing import RoutingTable

_HEADING = ("address", "backend")
_MOST_OCTETS = 134_217_728
"""Some millions of addresses; a fetched map may have no more."""
_LINES_AT_ONCE = 200
_MOST_PROBLEMS = 100
"""A file of another kind would otherwise fill the screen."""


def read_map(
    file: Path, domains: Collection[str], backends: Collection[str], breathe: Callable[[], None] = lambda: None
) -> tuple[dict[str, str], list[Problem]]:
    """The entries of one file, keyed as `Mailbox.key`, and its faults, line by line.

    In CSV an empty line, one that starts with `#`, and the heading `address,backend` are ignored. `breathe` is called
    every few hundred lines, for a reader that must let other work run.
    """
    entries: dict[str, str] = {}
    lines: dict[str, int] = {}
    known: dict[str, str] = {}
    problems: list[Problem] = []
    counts: Counter[tuple[str, str]] = Counter()
    try:
        for line, address, value in _pairs(file):
            if len(lines) % _LINES_AT_ONCE == 0:
                breathe()
            key, problem, fix = _check_pair(address, value, domains, backends)
            # The same few words stand on every line: one copy of each is enough.
            value = known.setdefault(value, value)
            if key and entries.get(key, value) != value:
                problem, fix = f"{address} is also on line {lines[key]}, with another backend", "remove one"
            if problem:
                counts[problem, fix] += 1
                if counts[problem, fix] > 1:
                    continue
                problems.append(Problem((), problem, fix, file, line))
                if len(problems) == _MOST_PROBLEMS:
                    problems.append(Problem((), "more lines may be wrong", "fix these first", file, line))
                    break
            elif key:
                entries[key] = value
                lines[key] = line
    except TextUnfit as error:
        problems.append(Problem((), error.problem, error.fix, file, error.line))
    except csv.Error as error:
        problems.append(Problem((), f"is no CSV: {error}", "write `address,backend` lines", file, 1))
    except tomllib.TOMLDecodeError as error:
        problems.append(Problem((), f"is no TOML: {error}", 'write `"address" = "backend"` lines', file, 1))
    return entries, [tell_repeats(one, counts[one.problem, one.fix]) for one in problems]


def check_address(address: str, domains: Collection[str] | None) -> tuple[str, str]:
    """The problem of an address as a map's key, and the fix; two empty strings when there is none. Without `domains`
    any domain may be an own one."""
    found = mailbox(address)
    if found is None or not found.domain:
        return f'"{address}" is no mail address', "write it as name@example.com"
    if domains is not None and found.ascii_domain not in domains:
        return f"{found.ascii_domain} is no domain of ours", f'add a [[domain]] with name = "{found.ascii_domain}"'
    return "", ""


def check_targets(value: str, backends: Collection[str]) -> tuple[str, str]:
    """The same for the targets of an address."""
    for word in value.split():
        if "@" in word:
            if mailbox(word) is None:
                return f'"{word}" is no mail address', "write a backend's name, or an address as name@example.com"
        elif word not in backends:
            close = get_close_matches(word, backends, 1)
            fix = f'did you mean "{close[0]}"?' if close else f"there are: {', '.join(backends) or 'none'}"
            return f'no backend named "{word}"', fix
    return ("", "") if value.strip() else ("stands for nothing", "write a backend's name, or another address")


def _pairs(file: Path) -> Iterator[tuple[int, str, str]]:
    """Line number, address and its targets. An entry of another shape has no targets."""
    if file.suffix == ".toml":
        text = read_text(file, _MOST_OCTETS, toml=True)
        tree, places = tomllib.loads(text), locate(text)
        for address, value in tree.items():
            words = value if isinstance(value, list) else [value]
            good = all(isinstance(word, str) for word in words)
            yield nearest(places, (address,)).line, address, " ".join(words) if good else ""
        return
    reader = csv.reader(io.StringIO(read_text(file, _MOST_OCTETS), newline=""), skipinitialspace=True)
    for row in reader:
        cells = [cell.strip() for cell in row]
        if not any(cells) or cells[0].startswith("#") or tuple(map(str.lower, cells)) == _HEADING:
            continue
        yield reader.line_num, cells[0], cells[1] if len(cells) == 2 else ""


def _check_pair(address: str, value: str, domains: Collection[str], backends: Collection[str]) -> tuple[str, str, str]:
    """The key, or the problem and its fix."""
    if not value:
        return "", "is not `address,backend`", "write two cells"
    found = mailbox(address)
    if found is None or found.ascii_domain not in domains:
        return "", *check_address(address, domains)
    if value not in backends:
        problem, fix = check_targets(value, backends)
        if problem:
            return "", problem, fix
    return found.key, "", ""


DIRECT = "direct"
"""The backend that always exists: the MX of the recipient's domain, with opportunistic TLS."""


class MapFile(Value):
    """A file with addresses, and its last good copy."""

    path: Path
    copy: Path
    """For a fetched map the file itself, because only a good map is written there."""
    remote: bool = False
    """The map is fetched: an old or missing file does not show a fault of the file."""

    @property
    def stamp(self) -> Path:
        """A file that is touched each time the fetched map was found to be good."""
        return self.copy.with_suffix(".seen")


def map_files(config: Config) -> tuple[MapFile, ...]:
    """Every map, in the order of lookup."""
    kept = config.server.spool / "maps"
    files = [MapFile(path, kept / f"{path.stem}-{_short_digest(path)}{path.suffix}") for path in config.routing.maps]
    fetched = [kept / f"{one.name}.csv" for one in config.routing.remote]
    return (*files, *(MapFile(path, path, remote=True) for path in fetched))


def routing_table(config: Config, copies: bool = False) -> RoutingTable:
    """The table that routes recipients. An address of the configuration overrides one of a map, and an earlier map
    overrides a later one.

    With `copies` the last good copy replaces a file that cannot be used. Raises ConfigErrors when there is no copy
    either. A map that was never fetched is empty, and the table is stale.
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
    """The domains that a map's addresses may belong to."""
    return frozenset(domain.name for domain in config.domain)


def _read(file: MapFile, config: Config, copies: bool) -> tuple[dict[str, str], list[Problem]]:
    domains = our_domains(config)
    entries, wrong = read_map(file.path, domains, config.backend)
    if (wrong or not entries) and (copies or file.remote) and file.copy.exists():
        # A domain or backend that the configuration has since dropped is dropped there too.
        entries, _ = read_map(file.copy, domains, config.backend)
        return entries, []
    return entries, wrong


def _short_digest(path: Path) -> str:
    return hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()[:8]
