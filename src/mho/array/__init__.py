"""What an analog array does to a product: conductances, noise, converters; shared by simulation and training."""
