"""What people read: tables, reports, and the floors that stand in them. No Lightning."""
