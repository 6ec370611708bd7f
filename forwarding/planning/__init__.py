"""From stored events to deliveries: which click, which order, when at the earliest."""
