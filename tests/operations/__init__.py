"""What operators do: check, back up, restore, read only, go through a pooler."""
