"""A verdict as text for a terminal, as JSON for programs, and as CSV for spreadsheets."""
