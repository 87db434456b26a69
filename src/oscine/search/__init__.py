"""Neighbours among the vectors of an archive, and what a likeness is worth. Knows no model."""
