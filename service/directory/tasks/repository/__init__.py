"""Every SQL statement of the imports: entries, what vanished, and the imports themselves."""
