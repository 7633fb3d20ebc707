"""Address maps: which mailbox lives on which backend, from the configuration and from CSV files."""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from gateway.config.mistakes import Problem, place_problems
from gateway.config.model import Config
from gateway.mail.path import mailbox
from gateway.policy.routing import RoutingTable

_HEADING = ("address", "backend")
_LINES_AT_ONCE = 200
_MOST_PROBLEMS = 100
"""A file that is something else altogether would otherwise fill the screen."""


def routing_table(config: Config) -> RoutingTable:
    """The table that recipients are routed by. An address of the configuration wins over one of a map, and an
    earlier map over a later one. Raises ConfigErrors when a map has become unreadable since it was checked."""
    addresses: dict[str, str] = {}
    maps: list[dict[str, str]] = []
    for address, backend in config.routing.addresses.items():
        found = mailbox(address)
        if found is not None:
            addresses[found.key] = backend
    problems: list[Problem] = []
    for file in config.routing.maps:
        entries, wrong = read_map(file, our_domains(config), config.backend)
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
        callout=frozenset(domain.name for domain in config.domain if domain.callout),
        origins={name: backend.networks for name, backend in config.backend.items() if backend.networks},
    )


def our_domains(config: Config) -> frozenset[str]:
    """The domains that a map's addresses may be of."""
    return frozenset(domain.name for domain in config.domain)


def read_map(
    file: Path, domains: Collection[str], backends: Collection[str], breathe: Callable[[], None] = lambda: None
) -> tuple[dict[str, str], list[Problem]]:
    """The entries of one CSV file, keyed as `Mailbox.key`, and what is wrong with it, line by line.

    A line is `address,backend`; an empty line, one that starts with `#`, and the heading `address,backend` say
    nothing. `breathe` is called every few hundred lines, for a reader beside others who have work to do.
    """
    entries: dict[str, str] = {}
    lines: dict[str, int] = {}
    problems: list[Problem] = []
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            for line, address, backend in _rows(stream):
                if line % _LINES_AT_ONCE == 0:
                    breathe()
                key, problem, fix = _check_row(address, backend, domains, backends)
                if key and entries.get(key, backend) != backend:
                    problem, fix = f"{address} is also on line {lines[key]}, with another backend", "remove one"
                if problem:
                    problems.append(Problem((), problem, fix, file, line))
                    if len(problems) == _MOST_PROBLEMS:
                        problems.append(Problem((), "more lines may be wrong", "mend these first", file, line))
                        break
                elif key:
                    entries[key] = backend
                    lines[key] = line
    except OSError as error:
        problems.append(Problem((), f"cannot read it: {error.strerror}", "create it or mend its path", file, 1))
    except UnicodeDecodeError:
        problems.append(Problem((), "is not UTF-8 text", "save it as UTF-8", file, 1))
    except csv.Error as error:
        problems.append(Problem((), f"is no CSV: {error}", "write `address,backend` lines", file, 1))
    return entries, problems


def _rows(stream: Iterator[str]) -> Iterator[tuple[int, str, str]]:
    """Line number, address and backend of each row; a row of another width has an empty backend."""
    reader = csv.reader(stream, skipinitialspace=True)
    for row in reader:
        cells = [cell.strip() for cell in row]
        if not any(cells) or cells[0].startswith("#") or tuple(map(str.lower, cells)) == _HEADING:
            continue
        yield reader.line_num, cells[0], cells[1] if len(cells) == 2 else ""


def _check_row(address: str, backend: str, domains: Collection[str], backends: Collection[str]) -> tuple[str, str, str]:
    """The key, or the problem and its fix."""
    if not backend:
        return "", "is not `address,backend`", "write two cells"
    found = mailbox(address)
    if found is None or found.ascii_domain not in domains:
        return "", *check_address(address, domains)
    if backend not in backends:
        return "", f'no backend named "{backend}"', f"there are: {', '.join(backends)}"
    return found.key, "", ""


def check_address(address: str, domains: Collection[str]) -> tuple[str, str]:
    """What is wrong with an address as a map's key, and the fix; two empty strings when nothing is."""
    found = mailbox(address)
    if found is None or not found.domain:
        return f'"{address}" is no mail address', "write it as name@example.com"
    if found.ascii_domain not in domains:
        return f"{found.ascii_domain} is no domain of ours", f'add a [[domain]] with name = "{found.ascii_domain}"'
    return "", ""
