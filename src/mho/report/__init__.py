"""The page that a person reads, and the figures on it."""
