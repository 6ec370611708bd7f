"""Conversions from a CSV file: read in the request, checked and stored in a worker, a thousand rows at a time."""
