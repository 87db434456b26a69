"""Sound types, a map of them, and the page that shows both.

Plain arrays and frozen values come in; nothing here knows a model or reaches torch.
"""
