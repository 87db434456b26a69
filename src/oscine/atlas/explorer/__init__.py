"""The atlas in the browser: a server that shows one finished workspace, and its page."""
