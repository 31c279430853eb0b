"""The description of the hardware: what the user states, validated, with its sources."""
