"""The nouns: frozen values that every floor above passes along. Standard library only.

In: nothing. Out: dataclasses and enums. Importable by everyone.
"""
