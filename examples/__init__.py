"""Clients and servers in several languages, each beside its plain TCP twin; ``lines`` counts how they differ."""
