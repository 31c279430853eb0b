"""What a model computes: one frozen graph, however it was written down."""
