"""The nouns: frozen values that every floor above passes along. Standard library only, but for
what a value is (`value.py`).

In: nothing. Out: values and enums. Importable by everyone.
"""
