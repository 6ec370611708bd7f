"""The page Install SDK: snippets and live checks."""
