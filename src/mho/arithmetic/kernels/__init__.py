"""How operations compute, on torch tensors [N, *S]: of operation `x`, `run_x` and, where that differs, `train_x`.

A record names the module of its kernels (`Operation.kernels`). `run_x` is what the reference, both engines and every
comparison use: elementwise steps rounded to float32 and reductions in a fixed order, so a digital result depends
neither on N nor on threads. `train_x` may be differentiated: torch's own kernels where the fixed order would be slow.
The float forms of conv, linear and matmul are torch's in both, since a quantized network computes these in integers;
they alone may differ in their last bits between batches.
"""
