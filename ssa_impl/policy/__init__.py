"""What the administrator allows, and what becomes of it for one connection.

Three nouns: a *policy* is the administrator's files as a whole, a *profile* is what applies to one application,
*settings* are what was resolved for one connection.  Read in this order:

* ``model`` (pure): profile, request, settings.  ``policy`` (pure): the policy, and whose each profile is.
* ``resolve`` (pure): profile and the application's request to settings; an application may tighten, never weaken.
* ``contexts``: the only place that makes TLS contexts; ``key_log`` is its file of secrets.
* ``load``: the administrator's files to a policy, or every complaint at once.  ``files`` reads them, ``lines`` finds
  where their keys stand, ``tables`` puts them together, ``schema`` and ``shapes`` say what a key can be, ``assembly``
  makes the profiles, ``crypto_policies`` imports the system's; ``vendor/`` is what the package brings.
* ``explain`` (pure): which profile applies, why, and where each value stands.
"""
