"""API keys: the public one, and the secret ones of backends."""
