"""When somebody must act: the causes, found from the rows, and telling them."""
