"""What the administrator allows, and what becomes of it for one connection.

``model`` (pure): the *policy* and the *settings* of one connection.  ``resolve`` (pure): policy and the application's
request to settings; an application may tighten, never weaken.  ``contexts``: the only place that reads trust stores and
makes TLS contexts.  Today the policy is the built-in default; files, profiles and reload come to ``model``.
"""
