"""Zones for the tools that look at DNS records."""

from __future__ import annotations

from typing import Any


def outlook_like() -> dict[str, Any]:
    """A record in the shape of outlook.com's: 81 networks, in four includes and one more inside the first."""
    parts = {
        "spf-a.hosted.example": [f"ip4:192.0.{number}.0/24" for number in range(2, 22)],
        "spf-b.hosted.example": [f"ip4:198.51.{number}.0/26" for number in range(100, 125)],
        "spf-c.hosted.example": [f"ip6:2001:db8:{number:x}::/48" for number in range(1, 25)],
        "deep.hosted.example": [f"ip4:203.0.113.{number * 16}/28" for number in range(11)],
    }
    zone: dict[str, Any] = {name: {"TXT": [f"v=spf1 {' '.join(networks)} ~all"]} for name, networks in parts.items()}
    zone["spf-a.hosted.example"]["TXT"] = [
        zone["spf-a.hosted.example"]["TXT"][0].replace("~all", "include:deep.hosted.example -all")
    ]
    zone["mail.example"] = {
        "TXT": [
            "v=spf1 include:spf-a.hosted.example include:spf-b.hosted.example include:spf-c.hosted.example "
            "ip4:192.0.2.1 ~all",
            "other",
        ],
    }
    return zone


def networks_of(zone: dict[str, Any]) -> set[str]:
    """Every ip4 and ip6 value in it."""
    records = [record for entry in zone.values() for record in entry.get("TXT", [])]
    return {term[4:] for record in records for term in record.split() if term.startswith(("ip4:", "ip6:"))}
