"""Which weights lie in which cells of which tile, and which inputs meet them."""
