"""The mapping editor of an account."""
