"""The commands ``ssad`` and ``ssa``."""
