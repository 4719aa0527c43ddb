"""What a user would pick instead: a proxy on loopback that does the TLS for plain clients.

- ``kinds``: stunnel and HAProxy: which program, its configuration, and how its log tells what each connection
  negotiated.  Pure, but for looking for the program.
- ``program``: ``python -m harness.proxies.program``, which runs one proxy and answers for it; started by
  ``parties``.

Both proxies are given what the other stacks have: TLS 1.2 or newer, the authorities' file, the name that the
certificate must be good for, no resumption.  Both are told to log each connection, because nobody else knows
what it negotiated: a line or two of the log are part of what a proxied connection costs here.
"""
