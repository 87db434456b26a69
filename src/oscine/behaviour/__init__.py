"""What was seen joined with what was heard: logs of observers, clocks, the join, its statistics."""
