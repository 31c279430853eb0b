"""Datasets with fixed splits, as arrays."""
