"""The worker's processes: django-q2's cluster, its watchdog, and their signs of life."""
