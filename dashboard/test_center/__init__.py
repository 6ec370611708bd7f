"""The Test Center of an account: a test conversion and what came of it, new goals, auto-tagging."""
