"""Signing in, and who belongs to an organisation."""
