"""Test conversions: what a doctor finds before one is sent, and the one real conversion that goes out."""
