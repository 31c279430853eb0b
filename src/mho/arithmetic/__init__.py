"""The digital unit's operations: one definition for the reference, the engines and training."""
