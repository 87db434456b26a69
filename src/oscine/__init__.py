"""Self-supervised audio learning for bioacoustics."""
