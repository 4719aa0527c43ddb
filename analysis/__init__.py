"""From a campaign's records to a judged result: frames, models, verdict, figures, tables, report.

Nouns
-----
*campaign*   one directory of results (``harness.records`` is its vocabulary)
*place*      link, profile and boundary: trials of different places never share a fit
*scenario*   the campaigns that may share one fit: same place, server, stacks, machine, judgement
*arm*        one side of the comparison: 0 the baseline, 1 the other.  In an A/A campaign both are one stack
*pair*       both arms of one cell in one block, run back to back; the unit that enters the fit
*fit*        ``ms ~ n * impl`` over complete pairs of ok trials, cluster-robust by block
*estimate*   a number with its interval, p value, degrees of freedom and method; where the data do not suffice
             a :class:`~analysis.estimates.Missing` stands in its place, with the reason
*check*      the same question asked in another way; it must agree
*verdict*    one of four words, or none when the design is underpowered

Reading order
-------------
- ``errors``, ``estimates``: what can go wrong; what a number is; ``arithmetic``: the same digits on every machine
- ``columns``, ``load``, ``validate``, ``damage``: records as columns; reading a campaign's directory; do its rows
  belong together; which lines are damaged
- ``frames``, ``pooling``, ``phases``: which rows enter the fit, what was left out and why; which campaigns share
  one; how long each step of a client took
- ``models``, ``equivalence``, ``checks``, ``paper``: the primary fit; margins; other ways to ask; the paper's own
- ``stopping``: campaigns that may end early, by the width of their intervals and by nothing else
- ``cpu``, ``power``: the co-primary result; what the design could have seen
- ``boundaries``: two boundaries of the SSA beside each other, in campaigns that have both
- ``verdict``, ``study``: Holm, the decision table, what ``verdict.json`` holds; all of the above for one scenario
- ``sensitivity``, ``processes``, ``trends``: other choices; single processes; what grows with n
- ``sentences``, ``tables``, ``figures``, ``report``: what people read
- ``unlike``, ``comparison``, ``beside``: two campaigns: what differs between them, what changed, in words
- ``sizing``: how many blocks the next campaign needs
- ``files``, ``artefacts``: how files are written, and which
- ``synthetic``, ``selfcheck``: campaigns with a known truth, labelled as such; the pipeline tried on them
- ``claims``: what plan files claim, beside what was recorded
- ``cli``, ``console``, ``comparing``, ``planning``, ``claiming``, ``verification``: ``python -m analysis``;
  is a recorded verdict still what the data say
- ``notebook``: what the notebooks need beside this

Files are read in ``load`` and written through ``files.put`` (and ``synthetic.write``); all else is pure: no
files, no clock, seeded randomness.  This package imports ``harness.records`` and nothing else of ours.
"""

__version__ = "0.1.0"
