"""Who may do what, and sees what: every operation, every role, near and far."""
