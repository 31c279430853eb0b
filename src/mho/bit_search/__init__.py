"""Bit-width search: the space, the environment, the methods and the log that they share."""
