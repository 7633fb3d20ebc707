"""One file of addresses: CSV, `address,backend` lines, or TOML, `"address" = "backend"`.

The second part is a backend's name or another address, which makes the first one an alias; with several of them,
divided by spaces, mail goes to all.
"""

from __future__ import annotations

import csv
import io
import tomllib
from collections.abc import Callable, Collection, Iterator
from difflib import get_close_matches
from pathlib import Path

from gateway.config.mistakes import Problem
from gateway.config.text_file import TextUnfit, read_text
from gateway.mail.path import mailbox
from gateway.model.place import locate, nearest

_HEADING = ("address", "backend")
_MOST_OCTETS = 134_217_728
"""Some millions of addresses; what is fetched may have no more."""
_LINES_AT_ONCE = 200
_MOST_PROBLEMS = 100
"""A file that is something else altogether would otherwise fill the screen."""


def read_map(
    file: Path, domains: Collection[str], backends: Collection[str], breathe: Callable[[], None] = lambda: None
) -> tuple[dict[str, str], list[Problem]]:
    """The entries of one file, keyed as `Mailbox.key`, and what is wrong with it, line by line.

    In CSV an empty line, one that starts with `#`, and the heading `address,backend` say nothing. `breathe` is called
    every few hundred lines, for a reader beside others who have work to do.
    """
    entries: dict[str, str] = {}
    lines: dict[str, int] = {}
    known: dict[str, str] = {}
    problems: list[Problem] = []
    try:
        for line, address, value in _pairs(file):
            if len(lines) % _LINES_AT_ONCE == 0:
                breathe()
            key, problem, fix = _check_pair(address, value, domains, backends)
            # The same few words stand on every line: one copy of each does.
            value = known.setdefault(value, value)
            if key and entries.get(key, value) != value:
                problem, fix = f"{address} is also on line {lines[key]}, with another backend", "remove one"
            if problem:
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
    return entries, problems


def check_address(address: str, domains: Collection[str] | None) -> tuple[str, str]:
    """The problem of an address as a map's key, and the fix; two empty strings when there is none. Without `domains`
    any domain may be ours."""
    found = mailbox(address)
    if found is None or not found.domain:
        return f'"{address}" is no mail address', "write it as name@example.com"
    if domains is not None and found.ascii_domain not in domains:
        return f"{found.ascii_domain} is no domain of ours", f'add a [[domain]] with name = "{found.ascii_domain}"'
    return "", ""


def check_targets(value: str, backends: Collection[str]) -> tuple[str, str]:
    """The same for what an address stands for."""
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
    """Line number, address and what it stands for. What has another shape stands for nothing."""
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
