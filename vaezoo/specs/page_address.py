"""Addresses of web pages, which are often pasted where a name belongs."""

import re
from urllib.parse import unquote, urlsplit

_HUB = re.compile(r"(https?://)?(www\.)?(huggingface\.co|hf\.co)/", re.IGNORECASE)
_FOLDER_FILES = ("config.json", "model.safetensors", "diffusion_pytorch_model")  # files of a folder that has a name


def remedy_for_page(text: str) -> str | None:
    """Return what to write instead of an address of a page or file on the web; `None` if the text is no address."""
    if not _HUB.match(text) and not re.match(r"https?://", text, re.IGNORECASE):
        return None
    address = urlsplit(text if "://" in text else f"https://{text}")
    owner, name, kind, revision, *path = [*(unquote(part) for part in address.path.split("/") if part), *[""] * 4]
    path = [part for part in path if part]
    is_page = kind in ("tree", "blob", "resolve", "raw") and revision
    if not name or owner in ("datasets", "spaces") or not (is_page or _HUB.match(text)):
        return "download the file and write file:PATH"
    at = f"@{revision}" if is_page and revision != "main" else ""
    repo = f"hf-hub:{owner}/{name}{at}"
    file = path[-1] if is_page and path and kind != "tree" else ""
    folder = "/".join(path[:-1] if file else path) if is_page else ""
    if not file or file.startswith(_FOLDER_FILES):
        return f"write {repo}#{folder}" if folder else f"write {repo}"
    revision_option = f" --revision {revision}" if at else ""
    whole = "/".join(path)
    return f"run `hf download {owner}/{name} {whole}{revision_option} --local-dir .` and write file:{whole}"
