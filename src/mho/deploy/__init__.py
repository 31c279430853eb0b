"""What a verified program becomes outside of mho: backends, and the registry that finds them."""
