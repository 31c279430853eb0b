"""Policies, quantizers, calibration, quantization-aware training and export."""
