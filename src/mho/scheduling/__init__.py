"""Chips of many crossbars: which crossbars hold which copy of a layer, and when each window of each layer runs."""
