"""What stops the demo."""


class DemoError(Exception):
    """One sentence in plain English: what is wrong, and what to do."""
