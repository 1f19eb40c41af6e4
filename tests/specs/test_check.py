"""Trees against signatures: every fault of a file in one message, each with its place and the remedy."""

import pytest

from vaezoo.errors import SpecError
from vaezoo.nn.schema import check_spec
from vaezoo.specs.model import BlockSpec
from vaezoo.specs.parse import parse_yaml
from vaezoo.zoo.spec_file import read_spec

GOOD = """\
image: {channels: 3}
latent: {kind: gaussian, channels: 4}
shared: {norm: group, groups: 8, eps: 1.0e-5, act: silu, skip: conv}

encoder:
  - {block: conv, out: 16, kernel: 3}
  - {block: down, out: 24, layers: 1, resample: conv_4x4}
  - {block: head, out: moments, kernel: 3}
decoder:
  - {block: conv, out: 24, kernel: 3}
  - {block: up, out: 16, layers: 1, resample: conv_transpose_4x4}
  - {block: head, out: image, kernel: 3}
"""


def faults(*changes: tuple[str, str]) -> list[str]:
    """The lines of the error that `GOOD` gives with parts of its text replaced."""
    text = GOOD
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    with pytest.raises(SpecError) as caught:
        check_spec(parse_yaml(text, "vae.yaml"))
    return str(caught.value).splitlines()


def test_a_good_file_becomes_rows_with_the_shared_keys_that_fit_them():
    spec = check_spec(parse_yaml(GOOD, "vae.yaml"), "mine")
    norm = {"norm": "group", "groups": 8, "eps": 1e-5, "act": "silu"}
    assert (spec.name, spec.image.channels, spec.latent.kind, spec.latent.channels) == ("mine", 3, "gaussian", 4)
    assert spec.encoder == (
        BlockSpec("conv", {"out": 16, "kernel": 3}),
        BlockSpec("down", {"out": 24, "layers": 1, "resample": "conv_4x4", **norm, "skip": "conv"}),
        BlockSpec("head", {"out": "moments", "kernel": 3, **norm}),
    )


def test_the_example_of_the_documentation_reads_as_it_is_promised():
    assert faults(("out: 24, layers: 1", "out: 24, layer: 1"))[0] == (
        "vae.yaml:7:28: encoder[1].layer: unknown key 'layer' for DownBlock; did you mean 'layers'?"
    )


def test_all_faults_of_a_file_stand_in_one_message():
    assert faults(
        ("image: {channels: 3}", "images: {channels: 3}"),
        ("kind: gaussian", "kind: gausian"),
        ("eps: 1.0e-5", "eps: small"),
        ("{block: conv, out: 16, kernel: 3}", "{block: cnv, out: 16, kernel: 3}"),
        ("out: 24, layers: 1", "out: 24, layer: 1"),
        ("resample: conv_transpose_4x4", "resample: conv_4x4"),
        ("{block: head, out: image, kernel: 3}", "{block: head, out: picture}"),
    ) == [
        "vae.yaml:1:1: images: unknown key 'images' for a network; did you mean 'image'?",
        "vae.yaml:1:1: missing image for a network",
        "vae.yaml:2:16: latent.kind: unknown kind 'gausian'; did you mean 'gaussian'?",
        "vae.yaml:6:13: encoder[0].block: unknown block 'cnv'; did you mean 'conv'?",
        "vae.yaml:7:28: encoder[1].layer: unknown key 'layer' for DownBlock; did you mean 'layers'?",
        "vae.yaml:7:5: encoder[1]: missing layers for DownBlock",
        "vae.yaml:3:39: shared.eps: expected a number, got 'small'",
        "vae.yaml:11:47: decoder[1].resample: unknown resample 'conv_4x4'; did you mean 'conv_transpose_4x4'?",
        "vae.yaml:12:5: decoder[2]: missing kernel for Head",
        "vae.yaml:12:24: decoder[2].out: expected an integer or 'image', 'latent' or 'moments', got 'picture'",
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("channels: 4", "channels: four", "vae.yaml:2:36: latent.channels: expected an integer, got 'four'"),
        ("channels: 4", "channels: 4.0", "vae.yaml:2:36: latent.channels: expected an integer, got 4.0"),
        ("channels: 4", "channels: true", "vae.yaml:2:36: latent.channels: expected an integer, got true"),
        ("channels: 4", "channels: [4]", "vae.yaml:2:36: latent.channels: expected an integer, got a list"),
        ("channels: 4", "channels:", "vae.yaml:2:35: latent.channels: expected an integer, got null"),
        ("channels: 4", "channels: 0", "vae.yaml:2:36: latent.channels: expected 1 to 16,384, got 0"),
        ("channels: 4", "channels: 16385", "vae.yaml:2:36: latent.channels: expected 1 to 16,384, got 16,385"),
        ("channels: 3", "channels: 65", "vae.yaml:1:19: image.channels: expected 1 to 64, got 65"),
        ("{channels: 3}", "3", "vae.yaml:1:8: image: expected a mapping of channels, got 3"),
        ("{channels: 3}", "{}", "vae.yaml:1:8: image: missing channels for ImageSpec"),
        ("kind: gaussian", "kind: 1", "vae.yaml:2:16: latent.kind: expected text, got 1"),
        ("eps: 1.0e-5", "eps: 0", "vae.yaml:3:39: shared.eps: expected 1e-12 to 1.0, got 0.0"),
        ("eps: 1.0e-5", "eps: 1e-5x", "vae.yaml:3:39: shared.eps: expected a number, got '1e-5x'"),
        ("norm: group", "norm: no", "vae.yaml:3:16: shared.norm: unknown norm 'no'; known: group, rms, l2 and batch"),
        ("out: 16", "out: 65_537", "vae.yaml:6:24: encoder[0].out: expected 1 to 65,536, got 65,537"),
        ("kernel: 3", "kernel: 2.0", "vae.yaml:6:36: encoder[0].kernel: expected an integer, got 2.0"),
        ("layers: 1", "layers: 65", "vae.yaml:7:36: encoder[1].layers: expected 1 to 64, got 65"),
        ("layers: 1", "layers: -1", "vae.yaml:7:36: encoder[1].layers: expected 1 to 64, got -1"),
        ("resample: conv_4x4", "resample: 4", "vae.yaml:7:49: encoder[1].resample: expected text or null, got 4"),
        ("block: conv", "block: [conv]", "vae.yaml:6:13: encoder[0].block: expected text, got a list"),
        ("block: conv", "block:", "vae.yaml:6:12: encoder[0].block: expected text, got null"),
        (
            "{block: conv, out: 16, kernel: 3}",
            "conv",
            "vae.yaml:6:5: encoder[0]: expected a mapping with a block, such as {block: conv, …}",
        ),
        (
            "skip: conv}",
            "skip: conv, droput: 0.1}",
            "vae.yaml:3:70: shared.droput: fits no row; unknown key 'droput'; did you mean 'out'?",
        ),
        (
            "skip: conv}",
            "skip: conv, block: up}",
            "vae.yaml:3:70: shared.block: fits no row; unknown key 'block'; known: "
            "act, eps, groups, heads, kernel, layers, norm, out, padding, resample, resample_out, shortcut and skip",
        ),
        ("image:", "summary: 3\nimage:", "vae.yaml:1:10: summary: expected text, got 3"),
        ("image:", "expect: {params: a}\nimage:", "vae.yaml:1:18: expect.params: expected an integer or null, got 'a'"),
        (
            "image:",
            "expect: {parameters: 3}\nimage:",
            "vae.yaml:1:10: expect.parameters: unknown key 'parameters' for Expect; did you mean 'params'?",
        ),
        (
            "image:",
            "base: vae_f8_z4\nimage:",
            "vae.yaml:1:1: base: unknown key 'base' for a network; known: "
            "summary, image, latent, shared, encoder, decoder and expect",
        ),
    ],
)  # fmt: skip
def test_a_fault_names_its_place_its_path_and_the_remedy(old, new, message):
    assert faults((old, new)) == [message]


def test_a_half_is_a_list_of_one_to_64_rows():
    half = GOOD[GOOD.index("  - {block: conv, out: 16") : GOOD.index("decoder:")]
    row = "  - {block: conv, out: 16, kernel: 3}\n"
    assert faults((f"encoder:\n{half}", "encoder: []\n")) == ["vae.yaml:5:10: encoder: expected 1 to 64 items, got 0"]
    assert faults((f"encoder:\n{half}", "encoder: conv\n")) == ["vae.yaml:5:10: encoder: expected a list, got 'conv'"]
    assert faults((half, 65 * row)) == ["vae.yaml:6:3: encoder: expected 1 to 64 items, got 65"]
    assert len(check_spec(parse_yaml(GOOD.replace(half, 64 * row), "vae.yaml")).encoder) == 64


def test_a_network_of_more_layers_than_anyone_can_wait_for_is_refused():
    row = "  - {block: down, out: 8, layers: 64, resample: null}\n"
    start = GOOD.index("  - {block: down")
    fitting = GOOD[:start] + 7 * row + GOOD[start:]
    assert len(check_spec(parse_yaml(fitting, "vae.yaml")).encoder) == 10
    with pytest.raises(SpecError) as caught:
        check_spec(parse_yaml(GOOD[:start] + 8 * row + GOOD[start:], "vae.yaml"))
    assert str(caught.value) == "vae.yaml:6:5: 518 layers in all rows together; the limit is 512"


def test_a_file_that_is_no_mapping_says_what_a_network_is():
    with pytest.raises(SpecError) as caught:
        check_spec(parse_yaml("- 1", "vae.yaml"))
    assert str(caught.value) == (
        "vae.yaml:1:1: expected a mapping of summary, image, latent, shared, encoder, decoder and expect, got a list"
    )


def test_a_shared_key_that_no_row_of_this_file_has_is_a_fault_though_other_blocks_have_it():
    end = GOOD.index("  - {block: down")
    rows = "  - {block: head, out: moments, kernel: 3}\ndecoder:\n  - {block: conv, out: image, kernel: 1}\n"
    text = GOOD[:end] + rows
    with pytest.raises(SpecError) as caught:
        check_spec(parse_yaml(text, "vae.yaml"))
    assert str(caught.value) == (
        "vae.yaml:3:58: shared.skip: fits no row; unknown key 'skip'; known: "
        "act, eps, groups, kernel, norm, out, padding and shortcut"
    )


def test_a_row_s_own_key_wins_over_a_shared_one():
    spec = check_spec(
        parse_yaml(GOOD.replace("layers: 1, resample: conv_4", "layers: 1, groups: 4, resample: conv_4"), "a")
    )
    assert [row.arguments.get("groups") for row in spec.encoder] == [None, 4, 8]


def test_a_key_at_its_frozen_default_is_left_out_of_the_row():
    spelled = check_spec(parse_yaml(GOOD.replace("layers: 1", "layers: 1, heads: 0"), "vae.yaml"))
    assert "heads" not in spelled.encoder[1].arguments
    assert spelled == check_spec(parse_yaml(GOOD, "vae.yaml"))


def test_a_shared_fault_stands_once_although_every_row_has_it():
    assert len(faults(("groups: 8", "groups: eight"))) == 1


def test_a_message_of_thousands_of_faults_is_cut_and_says_so():
    lines = faults(("image:", "".join(f"k{i}: 1\n" for i in range(3000)) + "image:"))
    assert lines[99].startswith("vae.yaml:100:1: k99: unknown key 'k99'")
    assert lines[100:] == ["… and 2,900 more faults"]


def test_a_long_word_does_not_make_a_long_message():
    (line,) = faults(("norm: group", "norm: " + "g" * 10_000))
    assert len(line) < 150


def test_the_same_text_as_json_has_the_same_faults_at_the_file(tmp_path):
    (tmp_path / "a.json").write_text('{"image": {"channels": true}}')
    with pytest.raises(SpecError) as caught:
        read_spec(tmp_path / "a.json")
    assert str(caught.value).splitlines() == [
        f"{tmp_path / 'a.json'}: missing latent, encoder and decoder for a network",
        f"{tmp_path / 'a.json'}: image.channels: expected an integer, got true",
    ]
