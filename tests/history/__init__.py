"""A history of many concurrent clients, checked against the database; the same while things die."""
