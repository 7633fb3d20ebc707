"""The checks of the listeners: addresses, certificates and roles, together with the rest of the file."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator
from pathlib import Path

from gateway.config.edge import Certificate, Listener
from gateway.config.mistakes import Problem
from gateway.config.text_file import TextUnfit, read_octets, tell_unreadable
from gateway.config.valid_sections import ValidSections
from gateway.model.place import KeyPath

_HASH = re.compile(
    r"\$argon2(?:id|i|d)\$v=19\$m=(?P<memory>[0-9]{1,8}),t=(?P<time>[0-9]{1,4}),p=[0-9]{1,3}"
    r"\$[A-Za-z0-9+/]{11,128}\$[A-Za-z0-9+/]{16,256}"
)
_MOST_MEMORY = 1_048_576
"""KiB for one login."""
_MOST_TIME = 100
_MOST_OCTETS = 33_554_432


def read_users(path: Path) -> tuple[dict[str, str], list[Problem]]:
    """Hash by name, and the faults of the file. No problem text contains a hash. Raises TextUnfit."""
    users: dict[str, str] = {}
    taken: set[str] = set()
    problems = []
    for number, line in enumerate(read_octets(path, _MOST_OCTETS).decode("utf-8-sig", "replace").split("\n"), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, colon, hash = line.partition(":")
        said = _find_fault(name, hash) if colon else "is no `name:hash` line"
        if not said and name.lower() in taken:  # in any letter case it is the same sender
            said = f'names "{name}" again'
        if said:
            fix = "waypost user add NAME writes such a line"
            problems.append(Problem(("submission", "users"), f"line {number} of {path} {said}", fix))
        else:
            users[name] = hash
            taken.add(name.lower())
    return users, problems


def _find_fault(name: str, hash: str) -> str:
    found = _HASH.fullmatch(hash)
    if not name or "\0" in name or "\ufffd" in name:
        return "has no name"
    if found is None:
        return "has no argon2 hash"
    if int(found["memory"]) > _MOST_MEMORY or int(found["time"]) > _MOST_TIME:
        return "has a hash that costs too much to check"
    return ""


def check_listeners(sections: ValidSections) -> Iterator[Problem]:
    """All faults of the listeners."""
    config = sections.config
    seen: dict[str, str] = {}
    used: list[tuple[KeyPath, str]] = [
        (sections.path("listener", number, "address"), listener.address)
        for number, listener in enumerate(config.listener)
    ]
    used.append((("admin", "address"), config.admin.address))
    for path, address in used:
        if address.endswith(":0"):
            continue
        if address in seen:
            yield Problem(path, f"{address} is already taken by {seen[address]}", "choose another port or address")
        seen.setdefault(address, f"{path[0]}[{path[1]}]" if len(path) == 3 else "admin")
    for number, listener in enumerate(config.listener):
        yield from _check_certificate(sections.path("listener", number), listener)
        for at, further in enumerate(listener.certificates):
            yield from _check_certificate(sections.path("listener", number, "certificates", at), further)
        yield from _check_tls(sections.path("listener", number), listener)
    yield from _check_submission(sections)


def _check_certificate(path: KeyPath, listener: Listener | Certificate) -> Iterator[Problem]:
    certificate, key = listener.certificate, listener.key
    if certificate is None:
        if key is not None:
            yield Problem((*path, "key"), "is set without a certificate", "set certificate too")
        return
    named = {"certificate": certificate} | ({"key": key} if key is not None else {})
    missing = [setting for setting, file in named.items() if not file.is_file()]
    for setting in missing:
        yield Problem((*path, setting), f"no file {named[setting]}", "create it or fix its path")
    if missing:
        return
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # An encrypted key would otherwise ask for its password on the terminal.
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        yield _explain_tls(path, error, key is None, certificate)
    except OSError as error:
        unreadable = next((file for file in named.values() if not os.access(file, os.R_OK)), certificate)
        yield Problem((*path, "certificate"), *tell_unreadable(unreadable, error))


def _explain_tls(path: KeyPath, error: ssl.SSLError, lone: bool, certificate: Path) -> Problem:
    if error.reason == "KEY_VALUES_MISMATCH":
        return Problem((*path, "key"), "does not belong to the certificate", "name the key that it was made with")
    if lone and b"PRIVATE KEY-----" not in certificate.read_bytes():
        return Problem((*path, "certificate"), "has no key", "set key")
    said = (error.reason or "not PEM").replace("_", " ").lower()
    return Problem((*path, "certificate"), f"cannot be used: {said}", "write PEM, the key without a password")


def _check_tls(path: KeyPath, listener: Listener) -> Iterator[Problem]:
    """Settings that need a certificate, and the authorities of clients."""
    if listener.certificate is None:
        needing = [
            word
            for word, needed in (
                ('role = "submission"', listener.role == "submission"),
                ('tls = "implicit"', listener.tls == "implicit"),
                ("certificates", bool(listener.certificates)),
                ("client_ca", listener.client_ca is not None),
            )
            if needed
        ]
        if needing:
            yield Problem((*path, "certificate"), f"is not set, and {needing[0]} needs it", "set certificate and key")
    if listener.client_ca is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(listener.client_ca)
    except ssl.SSLError:
        yield Problem((*path, "client_ca"), "has no certificate", "write the authorities' certificates as PEM")
    except OSError:
        yield Problem((*path, "client_ca"), f"no file {listener.client_ca}", "create it or fix its path")


def _check_submission(sections: ValidSections) -> Iterator[Problem]:
    submission = sections.config.submission
    if submission.users is None:
        if submission.ldap is None and sections.is_complete("submission"):
            for number, listener in enumerate(sections.config.listener):
                if listener.role == "submission":
                    fix = "write [submission] users = a file of name:hash lines"
                    path = sections.path("listener", number, "role")
                    yield Problem(path, "is submission, and nobody can log in", fix)
        return
    try:
        yield from read_users(submission.users)[1]
    except TextUnfit as error:
        fix = error.fix if submission.users.exists() else "write it with `waypost user add NAME`"
        yield Problem(("submission", "users"), f"{submission.users}: {error.problem}", fix)
