"""Forward Logs: what is listed, one conversion's story, and what people do to deliveries."""
