"""Float networks by name."""
