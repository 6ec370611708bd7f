"""A local Microsoft Advertising for tests, the demo and benchmarks. Imports nothing of the client beside it."""
