"""Publishing a model on the Hub in one atomic commit."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import CommitInfo, CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # public, though not in `__all__`

from vaezoo.adapters.diffusers_export import diffusers_config
from vaezoo.errors import HubError, InputError
from vaezoo.io.images import save_picture
from vaezoo.io.temporary import scratch_folder
from vaezoo.nn.unwrap import unwrapped
from vaezoo.nn.vae import VAE
from vaezoo.sharing.card import PICTURE, card_text, show_samples
from vaezoo.sharing.save import write_folder
from vaezoo.weights.hub import Hub
from vaezoo.weights.patience import ADDRESS_REMEDY, checked_commit
from vaezoo.weights.write_checkpoint import check_savable


class Push(NamedTuple):
    """What `push_to_hub` published, or would publish.

    Args:
        files: Names of the files and their sizes in bytes.
        url: Address of the commit or pull request; `None` for a dry run.
        commit: Commit, 40 hexadecimal digits; `None` for a dry run.
    """

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
    with_diffusers: bool = False,
    training: str | None = None,
    dry_run: bool = False,
    token: str | bool | None = None,
    endpoint: str | None = None,
    track: Callable[[Sequence[Path]], Iterable[Path]] = iter,
) -> Push:
    """Publish a model on the Hub: `config.json`, `model.safetensors`, model card and picture, in one commit.

    Nothing is written if the repository changes in the meantime. No commit is made if it has the same files already.

    Args:
        vae: The model, published in its own dtype.
        repo: Repository, `organization/name`, created if it does not exist.
        license: License id of the Hub, such as "mit" or "apache-2.0".
        message: Commit message; `None` means a default one.
        revision: Branch to commit to, created if it does not exist; `None` means the main branch.
        private: Whether a new repository is private; `None` means the default of the organization. With `True` an
            existing public repository is refused.
        create_pr: Whether to open a pull request instead of committing to the branch.
        tag: Tag to put on the commit; cannot be combined with `create_pr`.
        with_diffusers: Whether to also publish `vae/`, which `from_pretrained(repo, subfolder="vae")` of a diffusers
            class loads. Otherwise an existing `vae/` is not updated and may become stale.
        training: Markdown about the training for the card; `None` leaves that section out.
        dry_run: Whether to only list the files that would be sent, without any request.
        token: Access token with write permission; `None` means the one that `hf auth login` saved.
        endpoint: Address of the Hub; `None` means `HF_ENDPOINT` or huggingface.co.
        track: Iterates over the sample photos that are reconstructed for the card, for example with a progress bar.

    Returns:
        The files, and unless it was a dry run the address and id of the commit.

    Raises:
        InputError: If the license is empty, `tag` and `create_pr` are both given, or `with_diffusers` is set and the
            latent statistics are unknown.
        CheckpointError: If the weights contain NaN or infinity or are on the meta device, or no diffusers class can
            express the network.
        HubError: If the Hub refuses the commit.

    Examples:
        >>> import vaezoo
        >>> vae = vaezoo.create("vae_f8_z4_micro", pretrained=True)
        >>> push = vaezoo.push_to_hub(vae, "alice/my-vae", license="mit", dry_run=True)
        >>> sorted(push.files)
        ['README.md', 'config.json', 'model.safetensors', 'reconstruction.jpg']
    """
    vae, hub = unwrapped(vae), Hub(endpoint=endpoint, token=token)
    check_push(repo, license, tag, create_pr)
    check_savable(vae)
    diffusers = diffusers_config(vae) if with_diffusers else None
    with scratch_folder() as temporary:
        shown = show_samples(vae, track)
        folder = write_folder(vae, temporary, card_text(vae, license, repo, shown, diffusers, training), diffusers)
        if shown:
            save_picture(shown.picture, folder / PICTURE)
        files = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}
        sizes = {name: path.stat().st_size for name, path in files.items()}
        if dry_run:
            return Push(sizes)
        with hub.translating(repo, revision=revision):
            head = _head(hub.api, repo, revision, private, create_pr)
            commit = _send(hub.api, repo, files, message, revision, create_pr, head)
            oid = checked_commit(commit.oid, hub.api.endpoint)
            if tag:
                _tag(hub.api, repo, tag, commit)
    return Push(sizes, commit.pr_url or commit.commit_url, oid)


def check_push(repo: str, license: str, tag: str | None = None, create_pr: bool = False) -> None:
    """Check arguments of `push_to_hub`, whose errors it raises, before a model is loaded."""
    if not license or not license.strip():
        raise InputError('a license is required to publish, such as license="mit": others must know what they may do')
    if tag and create_pr:
        raise InputError("a tag marks a commit of a branch; with create_pr=True, tag it after the merge")
    with Hub().translating(repo):
        validate_repo_id(repo)
    if "/" not in repo:
        raise HubError("refused", f"{repo!r} names no user or organization: write organization/{repo}")


def _head(api: HfApi, repo: str, branch: str | None, private: bool | None, create_pr: bool) -> str:
    """The commit at the head of the branch; repository and branch are created if they do not exist."""
    try:
        info = api.repo_info(repo)
    except RepositoryNotFoundError:
        api.create_repo(repo, private=private)
        info = api.repo_info(repo)
    if private and not info.private:
        text = "exists already and is public: make it private in its settings, or publish without private=True"
        raise HubError("refused", f"{repo} {text}")
    sha = checked_commit(info.sha, api.endpoint)
    if branch is None:
        return sha
    refs = api.list_repo_refs(repo)
    if branch in (tag.name for tag in refs.tags):
        raise HubError("refused", f"{repo}: {branch!r} is a tag, and commits go to a branch; revision= names one")
    heads = {ref.name: ref.target_commit for ref in refs.branches}
    if branch not in heads and not create_pr:
        api.create_branch(repo, branch=branch, revision=sha)
        _check_created(api, f"branch {branch}", branch in (ref.name for ref in api.list_repo_refs(repo).branches))
    return heads.get(branch, sha)


def _send(
    api: HfApi, repo: str, files: dict[str, Path], message: str | None, branch: str | None, create_pr: bool, head: str
) -> CommitInfo:
    return api.create_commit(
        repo,
        [CommitOperationAdd(name, path) for name, path in files.items()],
        commit_message=message or "Publish with vaezoo",
        revision=branch,
        create_pr=create_pr,
        parent_commit=head,
    )


def _tag(api: HfApi, repo: str, tag: str, commit: CommitInfo) -> None:
    try:
        api.create_tag(repo, tag=tag, revision=commit.oid)
    except HfHubHTTPError as error:
        tags = {ref.name: ref.target_commit for ref in api.list_repo_refs(repo).tags}
        if tags.get(tag) == commit.oid:  # published earlier
            return
        if tag not in tags:
            raise
        text = f"{repo} already has a tag {tag}, at {tags[tag][:12]}, which is kept; the files are at {commit.oid[:12]}"
        raise HubError("conflict", f"{text}: publish again with another tag=") from error
    _check_created(
        api,
        f"tag {tag}; the files are at {commit.oid[:12]}",
        tag in (ref.name for ref in api.list_repo_refs(repo).tags),
    )


def _check_created(api: HfApi, what: str, found: bool) -> None:
    """Raise `HubError` unless a branch or tag is there, since the client takes any answer for a success."""
    if not found:
        text = f"{api.endpoint} does not answer like a Hub (it did not create the {what})"
        raise HubError("server", f"{text}: {ADDRESS_REMEDY}")
