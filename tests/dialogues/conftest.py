"""The needs of all dialogues: certificates, and people who may log in."""

from __future__ import annotations

import ssl

import pytest
import trustme
from argon2 import PasswordHasher

from tests.dialogues.script import Surroundings

PEOPLE = {"alice@d.example": "open sesame", "user@testserver": "secretpassword"}


@pytest.fixture(scope="session")
def around(tmp_path_factory: pytest.TempPathFactory) -> Surroundings:
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    users = tmp_path_factory.mktemp("users") / "users"
    hasher = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1)
    users.write_text("".join(f"{name}:{hasher.hash(password)}\n" for name, password in PEOPLE.items()))
    return Surroundings(server, client, users)
