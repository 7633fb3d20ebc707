"""Bytes to nouns and back, pure: header fields, addresses, SMTP paths, framing, trace fields, DSNs.

In: octets as they came over the wire. Out: frozen values that keep their position in the octets, and fields ready to be
put above a message. Nothing here rewrites content, asks DNS or judges; bad octets yield a value that says so, never an
exception. Importable by every floor above `model`; imports `model` only.
"""
