"""The customer's log of who changed what."""
