"""See the package map below (written with the package)."""
