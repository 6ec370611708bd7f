"""Help: the words of the pages, the keys, and what to do when something does not work."""
