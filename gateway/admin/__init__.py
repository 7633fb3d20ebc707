"""What an admin's machines ask over HTTP: metrics and health.

In: the observer's registry and two questions about the gateway. Out: HTTP. Importable by `app` only.
"""
