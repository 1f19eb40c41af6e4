"""Hash plain data, whatever the order of its keys."""

import hashlib
import json
from typing import Any


def json_hash(data: Any) -> str:
    """Return the SHA-256 of the canonical JSON of `data`: keys sorted, no white space, 64 hexadecimal digits.

    Args:
        data: `None`, booleans, finite numbers, text, and lists and dicts of these.
    """
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
