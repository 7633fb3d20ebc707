"""Waypost: an SMTP relay gateway that judges each message once, at the true edge, and changes no byte of it."""

__version__ = "0.2.0"
