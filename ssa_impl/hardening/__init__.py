"""What a process of the daemon gives up before it serves: whoever takes it over gets no more than is left.

* ``kernel`` -- prctl(2) and system calls that Python has no name for.
* ``capabilities`` -- which of root's rights are kept, and what for.
* ``landlock`` -- which files can be reached at all.  ``places`` -- which of them a worker needs.
* ``filter`` -- which system calls can be made at all: a classic BPF program (pure).
* ``process`` -- all of it in the right order, and what is in force.  ``rehearsal`` -- what would be, tried in a child.

Nothing here can be taken back; it holds for the process and for all that it starts.  Where the kernel lacks something,
that is said (``Hardening.missing``), and whoever demanded it gets an error instead of a process.
"""
