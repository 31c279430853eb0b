"""The version of mho, by itself, so that every module may name it."""

__version__ = "0.1.0"
