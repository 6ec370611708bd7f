"""Connecting Microsoft: the integrations page and the steps of the wizard."""
