"""What the SAS platform tells us, and is told."""
