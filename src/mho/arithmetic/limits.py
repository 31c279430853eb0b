"""How far whole numbers are exact in floating point."""

FLOAT32_LIMIT = 1 << 24
"""Sums of whole numbers are exact in float32, in any order, where no partial sum passes this."""
FLOAT64_LIMIT = 1 << 53
"""The same for float64."""
INT32_LIMIT = 1 << 31
"""Sums of whole numbers below it fit int32."""
LARGEST_INTEGER = 1 << 20
"""Quantized integers, their zero points and offsets stay within it in programs, so that differences are exact too."""
