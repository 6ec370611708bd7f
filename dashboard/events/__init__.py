"""Events: what arrived, what became of it in each account, and how one of them is found again."""
