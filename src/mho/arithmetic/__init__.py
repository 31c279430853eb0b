"""The digital unit's operations: one definition for the reference, the engines, training, schedules and ONNX files.

An operation is one record (`operation.Operation`) in the file of its family (elementwise.py, movement.py, ...) and a
kernel in the module of the same family in `kernels`; `operations.OPERATIONS` holds all records. `requantize` is the way
between integers and float32; `batching` is the boundary where a user's arrays become tensors [N, *S].

A tensor of per-sample shape S is held as [N, *S]; attributes speak about S, axis 0 being its first axis, and are never
negative. Constants have no sample axis and broadcast against S. A network's reader gives every operand of an
elementwise operation a rank that NumPy's rules need no help with: activations have the rank of the output, constants
at most that.
"""
