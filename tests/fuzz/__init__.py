"""Nonsense of every kind, sent to a server process: no fault of ours, and nothing repeated."""
