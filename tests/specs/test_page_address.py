"""The answer to a pasted address, or to a folder written like a repository, is a name that works."""

import pytest
from support.diffusers_small import files_of, small_model

import vaezoo
from vaezoo.specs.names import parse_name

PAGE = "https://huggingface.co/alice/vae"


def answer(text: str) -> str:
    with pytest.raises(vaezoo.UnknownNameError) as caught:
        parse_name(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (PAGE, "hf-hub:alice/vae"),
        (f"{PAGE}/", "hf-hub:alice/vae"),
        (f"hf-hub:{PAGE}", "hf-hub:alice/vae"),
        ("huggingface.co/alice/vae", "hf-hub:alice/vae"),
        ("hf-hub:hf.co/alice/vae", "hf-hub:alice/vae"),
        (f"{PAGE}/discussions/3", "hf-hub:alice/vae"),
        (f"{PAGE}/tree/main", "hf-hub:alice/vae"),
        (f"{PAGE}/tree/main/vae", "hf-hub:alice/vae#vae"),
        (f"{PAGE}/tree/v1.0/in/vae", "hf-hub:alice/vae@v1.0#in/vae"),
        (f"{PAGE}/tree/refs%2Fpr%2F1", "hf-hub:alice/vae@refs/pr/1"),
        (f"{PAGE}/blob/main/config.json", "hf-hub:alice/vae"),
        (f"{PAGE}/blob/main/vae/diffusion_pytorch_model.fp16.safetensors", "hf-hub:alice/vae#vae"),
        (f"file:{PAGE}/resolve/main/vae/diffusion_pytorch_model.safetensors?download=true", "hf-hub:alice/vae#vae"),
        ("https://mirror.example/alice/vae/tree/main/vae", "hf-hub:alice/vae#vae"),
    ],
)
def test_the_address_of_a_page_is_answered_with_its_name(text, name):
    assert answer(text) == f"{text!r} is the address of a web page and not a name: write {name}"
    assert parse_name(name).text == name


def test_a_single_file_is_to_be_downloaded():
    assert answer(f"{PAGE}/resolve/main/a/x.safetensors").endswith(
        "run `hf download alice/vae a/x.safetensors --local-dir .` and write file:a/x.safetensors"
    )
    assert "x.safetensors --revision v1 --local-dir ." in answer(f"{PAGE}/blob/v1/x.safetensors")
    for other in ("https://github.com/a/b/x.safetensors", "https://x.org/network.yaml", "https://hf.co/datasets/a/b"):
        assert answer(other).endswith("download the file and write file:PATH")


@pytest.mark.parametrize("text", ["file:huggingface.co/x.safetensors", "local-dir:hf.co/a/b", "hf.co/a/b.yaml"])
def test_a_path_may_begin_like_an_address(text):
    assert parse_name(text).text == text


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hf-hub:alice/vae/in/vae", "hf-hub:alice/vae#in/vae"),
        ("hf-hub:alice/vae/in@v1", "hf-hub:alice/vae@v1#in"),
        ("hf-hub:alice/vae/in#vae", "hf-hub:alice/vae#in/vae"),
    ],
)
def test_a_folder_of_a_repository_is_written_after_a_hash(text, name):
    assert answer(text).endswith(f"a repository is organization/name; a folder in it is written {name}")


def test_the_answers_work(hub, tmp_path):
    small_model("AutoencoderTiny").save_pretrained(tmp_path)
    hub.commit("alice/vae", files_of(tmp_path, "vae/"))
    for text in (f"{PAGE}/tree/main/vae", f"{PAGE}/blob/main/vae/config.json", "hf-hub:alice/vae/vae"):
        vaezoo.create(answer(text).rpartition(" ")[2], pretrained=True)
