"""Keys that the policy names and applications use without being able to read them (paper section 8.2).

A process of its own, the *keeper*, is the only one that reads key files.  A worker asks it for a key when an
application first names it, and then holds that one; the parent never has a key at all.

* ``reading`` -- a certificate and its key from their files, checked; the only place that opens them.
* ``messages`` (pure) -- what the keeper hears and says.
* ``keeper`` -- the process: ``python -m ssa_impl.keys.keeper``.
* ``custody`` -- the parent's side: it starts the keeper, tells it the policy's keys and connects workers to it.
* ``holding`` -- a worker's side: it asks, and holds what it was given.
"""
