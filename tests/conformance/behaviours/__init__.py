"""The programs, and what they are expected to see.

They import ``socket``, ``select``, ``os`` and the like, and nothing of ours.

Where Python's own library hides a call (``accept4``, short addresses, small rooms), ``calls`` makes it.
"""
