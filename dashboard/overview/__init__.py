"""A site at a glance: is it healthy, what needs me, how much money."""
