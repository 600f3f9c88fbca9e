"""Exported recommenders behind HTTP: numpy and ONNX Runtime, no torch."""
