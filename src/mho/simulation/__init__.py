"""Two engines that run a program, and its timing."""
