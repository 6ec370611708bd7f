"""What is said about a conversion after it happened: the refund ledger and its rows."""
