"""Staff in customers' data: the ticket they work on, and the line that each opening leaves in the audit log."""
