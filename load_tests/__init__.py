"""Load: what an installation bears, measured beside the floor that its parts allow."""
