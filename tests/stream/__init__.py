"""The stream of facts."""
