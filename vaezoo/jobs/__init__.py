"""Independent pieces of work in processes of their own."""
