"""The stages from a configuration to a report, in a run directory."""
