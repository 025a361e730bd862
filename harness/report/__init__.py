"""One verdict, many renderings: a table for a terminal, JSON and CSV for programs, JUnit, Markdown and HTML for people who look later."""
