"""Motet: a complete, open stack for the gpt-oss models."""

from importlib.metadata import version

__version__ = version("motet")
