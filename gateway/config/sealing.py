"""What [seal] and the backends that want a seal say of each other, and of the key's file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gateway.config.keys import KeyUnusable, read_signing_key
from gateway.config.mistakes import Problem


def check_seal(tree: dict[str, Any], directory: Path) -> Iterator[Problem]:
    """Everything wrong with sealing that a single setting does not show."""
    backends = tree.get("backend")
    for name, backend in backends.items() if isinstance(backends, dict) else ():
        if isinstance(backend, dict) and backend.get("seal") is True and "seal" not in tree:
            fix = "add [seal] with domain, selector and key, or remove this"
            yield Problem(("backend", name, "seal"), "there is no key to seal with", fix)
    seal = tree.get("seal")
    key = seal.get("key") if isinstance(seal, dict) else None
    if isinstance(key, str):
        yield from _check_key(directory / key)


def _check_key(file: Path) -> Iterator[Problem]:
    path = ("seal", "key")
    try:
        read_signing_key(file.read_bytes())
    except FileNotFoundError:
        yield Problem(path, f"no file {file}", "create it or mend its path")
    except OSError as error:
        yield Problem(path, f"cannot read it: {error.strerror}", "give the gateway's user the right")
    except KeyUnusable as error:
        yield Problem(path, error.problem, error.fix)
