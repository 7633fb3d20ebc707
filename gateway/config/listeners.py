"""What is wrong with the listeners: their addresses, certificates and roles, seen beside the rest of the file."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gateway.config.mistakes import Problem
from gateway.config.tree import find_table, find_tables
from gateway.config.users import read_users
from gateway.model.place import KeyPath


def check_listeners(tree: dict[str, Any], directory: Path) -> Iterator[Problem]:
    """Everything wrong with them."""
    seen: dict[str, str] = {}
    used: list[tuple[KeyPath, Any]] = [
        (("listener", number, "address"), listener.get("address")) for number, listener in find_tables(tree, "listener")
    ]
    used.append((("admin", "address"), find_table(tree, "admin").get("address")))
    for path, address in used:
        if not isinstance(address, str) or address.endswith(":0"):
            continue
        if address in seen:
            yield Problem(path, f"{address} is already taken by {seen[address]}", "choose another port or address")
        seen.setdefault(address, f"{path[0]}[{path[1]}]" if len(path) == 3 else "admin")
    for number, listener in find_tables(tree, "listener"):
        path = ("listener", number)
        yield from _check_certificate(path, listener, directory)
        for at, further in find_tables(listener, "certificates"):
            yield from _check_certificate((*path, "certificates", at), further, directory)
        yield from _check_tls(path, listener, directory)
    yield from _check_submission(tree, directory)


def _check_certificate(path: KeyPath, listener: dict[str, Any], directory: Path) -> Iterator[Problem]:
    certificate, key = listener.get("certificate"), listener.get("key")
    if certificate is None:
        if key is not None:
            yield Problem((*path, "key"), "is set without a certificate", "set certificate too")
        return
    names = {"certificate": certificate} | ({"key": key} if key is not None else {})
    files: dict[str, Path] = {}
    for setting, name in names.items():
        if not isinstance(name, str):
            continue
        if (directory / name).is_file():
            files[setting] = directory / name
        else:
            yield Problem((*path, setting), f"no file {directory / name}", "create it or mend its path")
    if len(files) < len(names):
        return
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # An encrypted key would otherwise ask for its password on the terminal.
        context.load_cert_chain(files["certificate"], files.get("key"), password="")
    except ssl.SSLError as error:
        yield _explain_tls(path, error, key is None, files["certificate"])
    except OSError as error:
        yield Problem((*path, "certificate"), f"cannot read it: {error.strerror}", "give the gateway's user the right")


def _explain_tls(path: KeyPath, error: ssl.SSLError, lone: bool, certificate: Path) -> Problem:
    if error.reason == "KEY_VALUES_MISMATCH":
        return Problem((*path, "key"), "does not belong to the certificate", "name the key that it was made with")
    if lone and b"PRIVATE KEY-----" not in certificate.read_bytes():
        return Problem((*path, "certificate"), "has no key", "set key")
    said = (error.reason or "not PEM").replace("_", " ").lower()
    return Problem((*path, "certificate"), f"cannot be used: {said}", "write PEM, the key without a password")


def _check_tls(path: KeyPath, listener: dict[str, Any], directory: Path) -> Iterator[Problem]:
    """What needs a certificate, and the authorities of clients."""
    if listener.get("certificate") is None:
        needing = [
            word
            for word, needed in (
                ('role = "submission"', listener.get("role") == "submission"),
                ('tls = "implicit"', listener.get("tls") == "implicit"),
                ("certificates", bool(listener.get("certificates"))),
                ("client_ca", listener.get("client_ca") is not None),
            )
            if needed
        ]
        if needing:
            yield Problem((*path, "certificate"), f"is not set, and {needing[0]} needs it", "set certificate and key")
    authorities = listener.get("client_ca")
    if not isinstance(authorities, str):
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(directory / authorities)
    except ssl.SSLError:
        yield Problem((*path, "client_ca"), "has no certificate", "write the authorities' certificates as PEM")
    except OSError:
        yield Problem((*path, "client_ca"), f"no file {directory / authorities}", "create it or mend its path")


def _check_submission(tree: dict[str, Any], directory: Path) -> Iterator[Problem]:
    submission = tree.get("submission")
    users = submission.get("users") if isinstance(submission, dict) else None
    directory_known = isinstance(submission, dict) and "ldap" in submission
    if users is None and not directory_known:
        for number, listener in find_tables(tree, "listener"):
            if listener.get("role") == "submission":
                said = "is submission, and nobody can log in"
                yield Problem(
                    ("listener", number, "role"), said, "write [submission] users = a file of name:hash lines"
                )
        return
    if not isinstance(users, str):
        return
    try:
        yield from read_users(directory / users)[1]
    except OSError as error:
        fix = "write it with `waypost user add NAME`" if isinstance(error, FileNotFoundError) else "mend it"
        yield Problem(("submission", "users"), f"cannot read {directory / users}: {error.strerror}", fix)
