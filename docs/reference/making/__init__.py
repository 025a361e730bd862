"""What the generated reference, man pages and completions are made with; nothing here is installed."""
