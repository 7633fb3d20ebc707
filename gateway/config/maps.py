"""Address maps: which mailbox lives on which backend, from the configuration and from CSV files."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator
from pathlib import Path

from gateway.config.mistakes import Problem, place_problems
from gateway.config.model import Config
from gateway.mail.path import mailbox
from gateway.policy.routing import RoutingTable

_MOST_PROBLEMS = 100
"""A file that is something else altogether would otherwise fill the screen."""


def routing_table(config: Config) -> RoutingTable:
    """The table that recipients are routed by. An address of the configuration wins over one of a map, and an
    earlier map over a later one. Raises ConfigErrors when a map has become unreadable since it was checked."""
    domains = {domain.name: domain.backend for domain in config.domain}
    addresses: dict[str, str] = {}
    for address, backend in config.routing.addresses.items():
        found = mailbox(address)
        if found is not None:
            addresses[found.key] = backend
    problems: list[Problem] = []
    for file in config.routing.maps:
        entries, wrong = read_map(file, domains, config.backend)
        problems += wrong
        addresses = {**entries, **addresses}
    if problems:
        raise place_problems(problems, Path(), {})
    single = frozenset(name for name, backend in config.backend.items() if backend.one_domain_per_transaction)
    return RoutingTable(domains, addresses, single)


def read_map(file: Path, domains: Collection[str], backends: Collection[str]) -> tuple[dict[str, str], list[Problem]]:
    """The entries of one CSV file, keyed as `Mailbox.key`, and what is wrong with it, line by line.

    A line is `address,backend`; an empty line, one that starts with `#`, and the heading `address,backend` say
    nothing.
    """
    entries: dict[str, str] = {}
    lines: dict[str, int] = {}
    problems: list[Problem] = []
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            for line, address, backend in _rows(stream):
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
        if not any(cells) or cells[0].startswith("#") or [cell.lower() for cell in cells] == ["address", "backend"]:
            continue
        yield reader.line_num, cells[0], cells[1] if len(cells) == 2 else ""


def _check_row(address: str, backend: str, domains: Collection[str], backends: Collection[str]) -> tuple[str, str, str]:
    """The key, or the problem and its fix."""
    if not backend:
        return "", "is not `address,backend`", "write two cells"
    problem, fix = check_address(address, domains)
    if problem:
        return "", problem, fix
    if backend not in backends:
        return "", f'no backend named "{backend}"', f"there are: {', '.join(backends)}"
    found = mailbox(address)
    return found.key if found else "", "", ""


def check_address(address: str, domains: Collection[str]) -> tuple[str, str]:
    """What is wrong with an address as a map's key, and the fix; two empty strings when nothing is."""
    found = mailbox(address)
    if found is None or not found.domain:
        return f'"{address}" is no mail address', "write it as name@example.com"
    if found.ascii_domain not in domains:
        return f"{found.ascii_domain} is no domain of ours", f'add a [[domain]] with name = "{found.ascii_domain}"'
    return "", ""
