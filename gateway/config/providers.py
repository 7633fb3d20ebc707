"""Networks and signing domains that a provider shares among all its tenants. Any tenant of the provider has them too,
so they prove nothing about the sender and are never a trusted hop.

The signing domains are in `signers.toml`. The networks are taken from the SPF records of the providers:
`spf.protection.outlook.com` and `_netblocks.google.com` with its siblings. The list is short on purpose: it stops the
common mistake, it is not a complete list.
"""

from __future__ import annotations

import tomllib
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from gateway.model.value import Value

MICROSOFT, GOOGLE = "Microsoft 365", "Google"
_TENANTS_SHARE = {
    MICROSOFT: (
        "40.92.0.0/15",
        "40.107.0.0/16",
        "52.100.0.0/14",
        "104.47.0.0/17",
        "2a01:111:f400::/48",
        "2a01:111:f403::/48",
    ),
    GOOGLE: (
        "35.190.247.0/24",
        "64.233.160.0/19",
        "66.102.0.0/20",
        "66.249.80.0/20",
        "72.14.192.0/18",
        "74.125.0.0/16",
        "108.177.8.0/21",
        "172.217.0.0/19",
        "173.194.0.0/16",
        "209.85.128.0/17",
        "216.58.192.0/19",
        "216.239.32.0/19",
        "2001:4860:4000::/36",
        "2404:6800:4000::/36",
        "2607:f8b0:4000::/36",
        "2800:3f0:4000::/36",
        "2a00:1450:4000::/36",
        "2c0f:fb50:4000::/36",
    ),
}
_NETWORKS = tuple(
    (provider, ip_network(network)) for provider, networks in _TENANTS_SHARE.items() for network in networks
)


_BY_PRESET = {"microsoft-365": MICROSOFT, "google-workspace": GOOGLE}


class SharedSigner(Value):
    """A service whose signature is on the mail of every customer."""

    name: str
    kind: str
    """`mailboxes`: anyone may open one. `service`: it sends for its customers, and can sign as them."""
    domains: frozenset[str]
    remedy: str
    """The way for its customer to get a signature of the customer's own domain."""


@lru_cache(maxsize=1)
def read_signers() -> tuple[SharedSigner, ...]:
    """The table of shared signers."""
    tree = tomllib.loads(Path(__file__).with_name("signers.toml").read_text("utf-8"))
    return tuple(
        SharedSigner(one["name"], one["kind"], frozenset(one["domains"]), one["remedy"]) for one in tree["service"]
    )


def find_shared_signer(domain: str) -> SharedSigner | None:
    """The service that signs with this d= for all its customers; None for a d= with a single owner."""
    return next((one for one in read_signers() if domain in one.domains), None)


def find_provider(preset: str) -> str:
    """The provider that a backend's preset is for; empty for a mail server of somebody's own."""
    return _BY_PRESET.get(preset, "")


def provider_networks(preset: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """The networks of a provider's tenants, by the name of its preset."""
    return tuple(network for name, network in _NETWORKS if name == _BY_PRESET[preset])


def shared_networks() -> frozenset[IPv4Network | IPv6Network]:
    """All networks that some provider's tenants share."""
    return frozenset(network for _, network in _NETWORKS)


def find_strangers(network: IPv4Network | IPv6Network, preset: str) -> str:
    """The reason why this network exceeds the provider's of that preset; empty when it does not."""
    for provider, shared in _NETWORKS:
        if network.version != shared.version or not network.overlaps(shared):
            continue
        if provider != _BY_PRESET.get(preset, provider):
            return f"reaches into {shared}, which is {provider}'s"
        if network.prefixlen < shared.prefixlen:
            return f"is wider than {shared}, which is all that {provider} has there"
    return ""


def find_shared(network: IPv4Network | IPv6Network) -> tuple[str, IPv4Network | IPv6Network] | None:
    """The provider and its network that this one overlaps, or None."""
    for provider, shared in _NETWORKS:
        if network.version == shared.version and network.overlaps(shared):
            return provider, shared
    return None


def tell_shared(network: IPv4Network | IPv6Network, shared: tuple[str, IPv4Network | IPv6Network], who: str) -> str:
    """The text about the result of `find_shared`: the other users of the network."""
    provider, wide = shared
    if network == wide:
        return f"is a network that all {who} of {provider} send from"
    return f"reaches into {wide}, which all {who} of {provider} send from"
