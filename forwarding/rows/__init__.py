"""Many deliveries at once: reading, writing, locking and counting them in bounded statements. Nothing here decides."""
