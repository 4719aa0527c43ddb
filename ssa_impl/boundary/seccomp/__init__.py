"""The boundary at the system call itself: seccomp user notification (seccomp_unotify(2)), in Python.

* ``filter`` -- which calls are notified: a BPF program.  Pure.
* ``notify`` -- the kernel's structures and ioctls.
* ``processes`` -- the application's processes: memory, descriptors, credentials.
* ``calls`` -- what each notified call means, as control messages and back.
* ``children`` -- the supervisor as a parent.
* ``supervisor`` -- the event loop of ``ssa run``.
* ``launch`` -- start the application under the filter.

read, write, poll and all the rest are never notified: on the application's descriptor they are the kernel's own.
"""
