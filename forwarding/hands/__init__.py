"""What people may do to deliveries: retry, hold, release, cancel, restate, retract."""
