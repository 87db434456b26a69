"""What labels of people tell about vectors that were learned without them.

This room reads what the others made and feeds nothing back to them.
"""
