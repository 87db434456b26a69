"""The parts of ``benchmarks/pretrain.py`` and ``benchmarks/sweep.py``."""
