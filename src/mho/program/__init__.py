"""Explicit instructions for the accelerator, in a file that can be shipped."""
