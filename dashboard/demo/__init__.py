"""The demo: the whole product with a local Microsoft beside it, in one terminal. `make demo` runs it."""
