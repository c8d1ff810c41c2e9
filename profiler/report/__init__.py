"""What a profile looks like to a reader: screens of text, tables and plots."""
