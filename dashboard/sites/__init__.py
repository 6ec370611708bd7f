"""The list of sites, and a site's own pages."""
