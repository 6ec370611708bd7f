"""How moments and days are written where nothing else says so, which is in the staff's admin."""
