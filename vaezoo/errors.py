"""What can go wrong: every error of this package, as a tree.

VaezooError
├── SpecError           ValueError    a network, record, override or config that is not right
├── UnknownNameError    LookupError   a model, tag or configuration that does not exist
├── InputError          ValueError    images, latents or arguments that a model cannot take
│   └── ImageError                    a picture file that cannot be read
├── CheckpointError     ValueError    weights that are damaged, unsafe or of another network
├── FileError           OSError       a path that cannot be read or written
├── TrainingError       RuntimeError  a training that cannot go on
└── HubError            OSError       a Hugging Face Hub that did not give or take what was asked

Each text names the thing, the place and the remedy.
"""


class VaezooError(Exception):
    """Base of every error that vaezoo raises on purpose."""


class SpecError(VaezooError, ValueError):
    """A network, weights record, override or config file is not right; all its faults are in the text."""


class UnknownNameError(VaezooError, LookupError):
    """No model, tag or configuration of that name exists; the text lists near or valid ones."""


class InputError(VaezooError, ValueError):
    """Images, latents or arguments that a model or function cannot take."""


class ImageError(InputError):
    """A picture file that cannot be read."""


class CheckpointError(VaezooError, ValueError):
    """Weights that are damaged, of an unsafe format, or made for another network."""


class FileError(VaezooError, OSError):
    """A path that cannot be read or written."""


class TrainingError(VaezooError, RuntimeError):
    """A training that cannot go on."""


class HubError(VaezooError, OSError):
    """A Hub did not give or take what was asked.

    Args:
        kind: What happened, one word of `HubError.KINDS`, for programs.
        text: What happened and what to do, for people.
    """

    KINDS = ("gated", "missing", "revision", "file", "offline", "conflict", "server", "hash", "refused")

    def __init__(self, kind: str, text: str):
        super().__init__(text)
        self.kind = kind
