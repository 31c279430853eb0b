"""What a network is for: the loss that it is trained on, the metric that it is judged by, and in which unit."""
