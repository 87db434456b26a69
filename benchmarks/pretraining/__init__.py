"""The parts of ``benchmarks/pretrain.py``."""
