"""Figures as matplotlib objects: pure, no pyplot, no files, no dates; the same data give the same bytes.

``style``        palette, line styles, rendering to png, svg and pdf
``figure4``      the paper's figure
``forest``       many comparisons, one a row: slope difference, margin, CPU ratio
``diagnostics``  pair differences, slopes by block, residuals, Q-Q
``cost``         CPU per megabyte, phase times, link use, failures
``catalogue``    all of them, with what each shows and what trouble would look like

Each drawing function raises :class:`~analysis.errors.NotEnoughDataError` when there is nothing to draw.
"""
