"""Whether a peer is who it must be: strategies that judge a certificate chain, and how their votes are counted.

Reading order: ``model`` (pure: what the administrator chose, the *case* that is judged, *ballots* and the *verdict*),
``table`` (pure: TOML's table to the model, all complaints at once), ``votes`` (pure: the count), ``strategy`` (the
interface of a plug-in), ``registry`` (which plug-ins there are), ``judging`` (asks all of them at once).  The
strategies themselves are in ``strategies``; those that contact somebody or read files say so in their docstrings.
``staples``: when to ask about certificates of our own, with the same means.

Nothing here imports the daemon or the policy: a plug-in needs ``ssa_impl.validation`` and nothing else.
"""
