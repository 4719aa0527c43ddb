"""The experiment: plan, order, trials, records.

Nouns, in reading order:

- ``plan``: everything that a campaign is told (TOML, ``plans/``); ``complaints``: what is wrong with one.
- ``order``: randomised complete blocks of balanced pairs; ``ledger``: what has been run and what is next.
- ``records``: what is written down, the one waist between this package and ``analysis``.
- ``clients``: the processes that download; ``links``: what lies between them and the server.
- ``proxies``: stunnel and HAProxy as stacks of their own.
- ``parties``, ``ensemble``: fleets, daemon, proxies and server as processes; ``stage``: everything they stand on,
  in a ``workplace``.
- ``trial``: one release of n processes; ``assemble``: its records; ``validity``: may it be compared?
- ``cpu``: what other processes used; ``environment``: the machine, and whether it is still the same.
- ``jsonl``, ``campaign``, ``columns``: the campaign's directory.
- ``stopping``: looks between blocks, by which a plan may let a campaign end early.
- ``preflight``, ``runner``: a campaign from beginning to end; ``forecast``, ``progress``: how long it takes.
- ``check``: does a directory hold?  ``cli``: ``python -m harness``; ``signals``, ``errors``, ``streams``: how it ends.
- ``files``: what a person names is read without waiting, and tried before it is needed.

Everything that waits stands in ``parties``, ``ensemble``, ``trial``, ``stopping``, ``preflight`` and ``runner``
(trio) and in ``clients``.  Pure are ``plan`` (but for reading its file), ``complaints``, ``order``, ``ledger``,
``records``, ``assemble``, ``validity`` and ``forecast``: time and randomness are their arguments.
``ssa_impl`` and ``analysis`` are started as processes, never imported.
"""
