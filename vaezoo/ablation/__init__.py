"""Questions about architectures: what variants of a network cost, on paper and measured."""
