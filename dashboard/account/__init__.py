"""An account's pages: its frame, its overview and its settings."""
