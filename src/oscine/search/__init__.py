"""Neighbours among an archive's vectors, and what a likeness is worth. No torch."""
