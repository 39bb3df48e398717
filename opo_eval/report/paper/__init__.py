"""What a paper takes from a comparison: the OPO paper's own figures and tables, drawn from our numbers.

views, training records ──► data ──► figures ──► PDF, SVG, PNG, CSV and a LaTeX float each
views ──► numbers, marks ──► tables ──► LaTeX, Markdown and CSV each
published numbers ──► against ──► the same, and a section of report.md
"""
