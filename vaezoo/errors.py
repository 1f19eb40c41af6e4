"""The errors that vaezoo raises.

VaezooError
├── SpecError           ValueError    an invalid network, record, recipe, override or config file
├── UnknownNameError    LookupError   a model, tag or configuration that does not exist
├── InputError          ValueError    images, latents or arguments that are not valid
│   └── ImageError                    an image file that cannot be read
├── CheckpointError     ValueError    weights that are damaged, unsafe or belong to another network
├── FileError           OSError       a path that cannot be read or written
├── TrainingError       RuntimeError  a training run that cannot continue
├── HubError            OSError       a request to a Hugging Face Hub that failed
└── OutOfMemoryError    MemoryError   too little memory; in vaezoo.out_of_memory, since PyTorch's error is a base, too

Each message names the problem, its location and the remedy.
"""


class VaezooError(Exception):
    """Base class of all errors that vaezoo raises."""


class SpecError(VaezooError, ValueError):
    """A network, weights record, recipe, override or config file is invalid; the text lists all its faults."""


class UnknownNameError(VaezooError, LookupError):
    """No model, tag or configuration has this name; the text lists similar or valid names."""


class InputError(VaezooError, ValueError):
    """Images, latents or arguments are not valid for a model or function."""


class ImageError(InputError):
    """An image file cannot be read."""


class CheckpointError(VaezooError, ValueError):
    """Weights are damaged, in an unsafe format, or belong to another network."""


class FileError(VaezooError, OSError):
    """A path cannot be read or written."""


class TrainingError(VaezooError, RuntimeError):
    """A training run cannot continue."""


class HubError(VaezooError, OSError):
    """A request to a Hugging Face Hub failed.

    Args:
        kind: Kind of failure, one of `HubError.KINDS`.
        text: What failed and what to do about it.
    """

    KINDS = ("gated", "missing", "revision", "file", "offline", "conflict", "server", "hash", "refused")

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind
