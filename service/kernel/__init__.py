"""Shared kernel: what every room needs and no business word. It imports no room."""
