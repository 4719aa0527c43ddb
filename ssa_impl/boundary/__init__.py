"""Where an application's system calls become control messages.  ``seccomp`` today; ``preload`` comes beside it."""
