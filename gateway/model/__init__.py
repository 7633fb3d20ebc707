"""The nouns: frozen values that every floor above passes along. Standard library only, except for the base class of a
value (`value.py`).

In: nothing. Out: values and enums. Importable by everyone.
"""
