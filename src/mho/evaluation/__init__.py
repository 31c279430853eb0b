"""How accurate quantized networks are: on exact integers, on arrays with ideal cells, on sampled non-ideal chips."""
