"""What an administrator sees of a running daemon, and may tell it.

* ``answers`` -- what each command returns, as frozen dataclasses; ``plain`` turns them into JSON values and back.
* ``interface`` -- ``Provider``: what the daemon must be able to answer; ``Caller``: who asks, and what that one may.
* ``protocol`` -- JSON lines: requests, answers, refusals (pure).  ``service`` and ``client`` -- its two ends (I/O).
* ``metrics`` -- what a process counts, and how the counts of several add up (pure); ``openmetrics`` -- their text;
  ``scrape`` -- the text over HTTP on a unix socket (I/O).
* ``logs`` -- events, their fields, and the formats of a line; ``limiter`` -- how many of them a hostile peer can cause;
  ``outlet`` -- their way to a reader who is never waited for (I/O).
"""
