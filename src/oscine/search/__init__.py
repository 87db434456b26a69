"""Neighbours: which events sound alike, in the whole archive or in a part of it. Knows no model."""
