"""The networks of Tables 4 to 6, and what they compute together."""
