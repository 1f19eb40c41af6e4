"""What a network costs, holds and sees, and how two networks differ."""
