"""The picture: log-mel, its tape on disk, and the events found on it."""
