"""Publishing a model on a Hub: one repository, one atomic commit."""

import tempfile
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import CommitOperationAdd, HfApi

from vaezoo.errors import InputError
from vaezoo.images import save_picture
from vaezoo.nn.vae import VAE
from vaezoo.sharing.card import PICTURE, card_text, show_samples
from vaezoo.sharing.save import check_weights, write_folder
from vaezoo.weights.hub import Hub


class Push(NamedTuple):
    """What was, or would be, published: file names with sizes in bytes; `url` and `commit` unless it was a dry run."""

    files: dict[str, int]
    url: str | None = None
    commit: str | None = None


def push_to_hub(
    vae: VAE,
    repo: str,
    *,
    license: str,
    message: str | None = None,
    revision: str | None = None,
    private: bool | None = None,
    create_pr: bool = False,
    tag: str | None = None,
    dry_run: bool = False,
    token: str | bool | None = None,
    endpoint: str | None = None,
) -> Push:
    """Publish a model as `org/name`: `config.json`, `model.safetensors`, the card and its picture, in one commit.

    If the repository changes meanwhile nothing is written; if it holds exactly this already no commit is made.

    Args:
        vae: The model, published in its own dtype.
        repo: `org/name`; made if it does not exist.
        license: Licence id of the Hub, such as "mit" or "apache-2.0".
        message: Commit message.
        revision: Branch to commit to; made if it does not exist. None is the main branch.
        private: Whether a new repository is private; None is the organisation's default.
        create_pr: Open a pull request instead of committing to the branch.
        tag: Tag to put on the commit.
        dry_run: Only list what would be sent; makes no request.
        token: Access token that may write; None is the one that `hf auth login` saved.
        endpoint: Address of the Hub; None is `HF_ENDPOINT` or huggingface.co.

    Raises:
        InputError: If the licence is empty.
        CheckpointError: If the weights hold NaN or infinity.
        HubError: If the Hub does not take it.
    """
    if not license or not license.strip():
        raise InputError('a licence is required to publish, such as license="mit": others must know what they may do')
    with tempfile.TemporaryDirectory() as temporary:
        check_weights(vae)
        shown = show_samples(vae)
        folder = write_folder(vae, temporary, card_text(vae, license, repo, shown))
        if shown:
            save_picture(shown.picture, folder / PICTURE)
        paths = sorted(folder.iterdir())
        sizes = {path.name: path.stat().st_size for path in paths}
        if dry_run:
            return Push(sizes)
        hub = Hub(endpoint=endpoint, token=token)
        with hub.translating(repo, revision=revision):
            commit = _commit(hub.api, repo, paths, message, revision, private, create_pr)
            if tag:
                hub.api.create_tag(repo, tag=tag, revision=commit.oid)
    return Push(sizes, commit.pr_url or commit.commit_url, commit.oid)


def _commit(
    api: HfApi,
    repo: str,
    paths: list[Path],
    message: str | None,
    revision: str | None,
    private: bool | None,
    create_pr: bool,
):
    api.create_repo(repo, private=private, exist_ok=True)
    if revision:
        api.create_branch(repo, branch=revision, exist_ok=True)
    head = api.repo_info(repo, revision=revision).sha
    return api.create_commit(
        repo,
        [CommitOperationAdd(path.name, path) for path in paths],
        commit_message=message or "Publish with vaezoo",
        revision=revision,
        create_pr=create_pr,
        parent_commit=head,
    )
