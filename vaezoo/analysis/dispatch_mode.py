"""Base of the modes that count operations on the meta device."""

from torch.utils._python_dispatch import TorchDispatchMode


class DispatchMode(TorchDispatchMode):
    """Dispatch mode that is not hidden from `torch.compile`: hiding it imports `torch._dynamo`, which takes seconds."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False
