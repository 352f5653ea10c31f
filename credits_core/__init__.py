"""Prepaid credits in plain Python: Stripe and database operations, without any user interface."""
