"""The spec hash is pinned for every published network: it depends on what is computed and on nothing else."""

import json
import re
from dataclasses import replace

import pytest
from support.representatives import one_of_each

from vaezoo.nn.blocks import BLOCKS
from vaezoo.nn.schema import change_spec, check_spec
from vaezoo.specs.catalog import model_file
from vaezoo.specs.listing import list_models
from vaezoo.specs.parse import parse_json, parse_yaml
from vaezoo.specs.render import to_yaml
from vaezoo.zoo.spec_file import read_spec

# Never change a line: weights carry these. A new file of configs/models adds one.
HASHES = {
    "asym_x1_5_f8_z4": "9ba23d3af078860b759bc546f95830509c7eb718ced260a7369211d377a02784",
    "asym_x2_f8_z4": "b11434f9af40073a95455b703b9b705772b781487fbd904baf69b41cbbbe8abf",
    "cosmos_f8_z16": "31fa0dce3219091ddc404f0e0fdf72ec25fe240fe577770a789b4923d67d48f7",
    "cosmos_f16_z16": "846d83bbe09f4fb198e909983f28accb32f7d79a02005a74d5b60980ded3f8a0",
    "dcae_f32_z32": "b32c6de147e50f6d1adcc4e7924eb5d088a34585fa9bfbfeb66e51c0d6c35de8",
    "dcae_f64_z128": "0b62fab52504574826f49bae0cffe9da4d94e9a0e763ced278cdcc3ab7ae592d",
    "dcae_f128_z512": "ae5d62636b95f7b39a571c86cea6d65b2bc791b3a9a49ec82bc0e5ffc5ef7a67",
    "dcae_lite_f32_z32": "60cac349b0dd8236ae319d2c17029423956ab38c8e4d12a2a5ba8a07b3b8ca9e",
    "flux2_f8_z32": "223ac674aed4807063a5900fc86a8af46fc38ef7dd050012f9d7245233a2a6d6",
    "flux2_small_f8_z32": "0df85d84cf7a5e3afdb96f23c421077ea0b74c1dd00c0af198a4687cfa1e1240",
    "hunyuanimage_f32_z64": "381a24ed0b628e93f96f9d9f912ed5c12899b6458dc2c70c766cc9fc941bacc2",
    "ldm_f4_z3": "e28f38288044b21f038372fa4fdfacd5f6d11188550c3b6f14b821f73e77e9be",
    "ldm_f4_z4": "763c4d1e08f4ab73e93c9ad9a552cd3f949f684de2356e3d9cee7108b7483d71",
    "ldm_f8_z4": "25c0b799d2308bdb358432c50cae0a5f9ed2ae7a15c5be654e568d54e13a6f85",
    "ldm_f8_z16": "cd4c42a870ae2246e945af683a4280e03ff3e8095a6075937a928ce6ab85d604",
    "ldm_f16_z16": "a80d2b39ebf808f81dcf2fa310783524a4abce37a155053d489582a4a3a90dc7",
    "ldm_f32_z64": "f2d75273112670df7a6e4ac16a9d28b047f3f265725337da5bcc0397944b67b4",
    "ldm_reflect_f8_z4": "9d58fc5262644fe7088fc21247471d1ae0b98f214b8a427fb58bd41ea64b958f",
    "ldm_reflect_f8_z16": "182c85f43cd9746041a4205ab99a99f8c5cf55839031d0ab515317cb004475c7",
    "mar_f16_z16": "54d0b9316b712aed89a22f1c82ff58cd0f2a17a941df1f62306212294eff08a3",
    "qwenimage_f8_z16": "a1f05371707b6a715f1474a24b5f1fc208a829716f7785df14948b612880e15e",
    "sana_f32_z32": "35fce31410770d173a6ee9eea3b104e2adfffc286ef7d5cf7435e00a377d6986",
    "taef2_f8_z32": "7888285096b8582f6f10f8f7ba74cdf1e68beb581df29c49e93a140d081c1b13",
    "taesana_f32_z32": "e1bc662b9c14bb7e87ef9fe1365ebf631bf7b5767d73ff043c177ea3b64fa205",
    "taesd_f8_z4": "e3e28c6f0319d6eee6c209d0821c1e55123a0baea6f602333224f9b38cb16213",
    "taesd_f8_z16": "65fe0f80d6cf4745c2e2b094a6efb54235a76cd565a92b80f92cda5268c26699",
    "vae_f4_z3": "9d7c29e0782534ad0eaa551546ea56732e7c135eee76202ff60044771b13a7b7",
    "vae_f8_z4": "f16efc6b4a278e7248ec45dd12e5a40c1b28316f4138396ca57b6eca3a82283e",
    "vae_f8_z4_deep": "56fef559f7ac887cd7c7dded1004fca970f3c49dbd420906f3f39c0f7aabb7a2",
    "vae_f8_z4_quarter": "b713edacfa05db4de10318fde4a17c0d834cd7482f65665900756af2eff2de1f",
    "vae_f8_z4_micro": "66de7e0af41c91080da6bec88f55247c166f295e6e378f445591ec948a225682",
    "vae_f8_z4_noattn": "5fb4837bda9edba8d180342554c23ca43636064b3b3ecd3a9c37e3b4c42bcc1a",
    "vae_f8_z4_wide": "ed9960af40ac60be91137b9191d92b4a3288383d0477e0e406db2923b7f9cd9f",
    "vae_f8_z16": "680831ffe8b799737956f8ea8db7a279d98867b9bb13cca79549285d08b173cc",
    "vae_f16_z16": "ea7512470a8e07b2fc54b90f4393f1805c34076cbe5171f8bf17a1ea752d1d1d",
    "vavae_f16_z32": "db563a172c1e7897442607fb343447fd4922d0dceafdb451edcea0d63144d22d",
    "vavae_f16_z64": "ed980c9bdf5aae24ef2aed456a64d874354ec1be4de1dacc1d6451e72f9ca992",
}
NAMES = list_models()
TEXT = model_file("vae_f8_z4").read_text(encoding="utf-8")


def of(text: str) -> str:
    return check_spec(parse_yaml(text, "a.yaml")).hash


def replaced(old: str, new: str, count: int = 1) -> str:
    assert TEXT.count(old) >= count
    return TEXT.replace(old, new, count)


@pytest.mark.parametrize("name", sorted({*NAMES, *HASHES}))
def test_the_hash_of_a_published_network_never_changes(name):
    assert name in NAMES, f"{name} was published: a network is never removed, docs/stability.md says how one is renamed"
    found = read_spec(model_file(name)).hash
    assert name in HASHES, f'{name} is new; when it is final, add to HASHES of this file:\n    "{name}": "{found}",'
    assert found == HASHES[name], (
        f"the hash of {name} changed, so its weights no longer load: undo the change of its file, of a block's keys or "
        "of a default, and publish what you want under a new name"
    )


def test_the_hash_is_computed_once():
    spec = read_spec(model_file("vae_f8_z4"))
    assert spec.hash is spec.hash
    assert replace(spec, encoder=spec.decoder).hash != spec.hash


def test_no_two_networks_are_one():
    assert len(set(HASHES.values())) == len(HASHES), "weights of one network are tags of it, not networks of their own"


@pytest.mark.parametrize("name", one_of_each(NAMES))
def test_a_network_written_as_yaml_is_the_same_network(name):
    spec = read_spec(model_file(name))
    text = to_yaml(spec, BLOCKS)
    again = check_spec(parse_yaml(text, "a.yaml"), name)
    assert (again, again.hash, again.summary) == (spec, spec.hash, spec.summary)
    assert to_yaml(again, BLOCKS) == text


def test_a_network_written_as_yaml_reads_like_a_published_file():
    lines = to_yaml(read_spec(model_file("vae_f8_z4")), BLOCKS).splitlines()
    assert lines[:6] == [
        "summary: The base network of the zoo, with widths 64-128-256-256, 8x downsampling and 4 latent channels.",
        "image: {channels: 3}",
        "latent: {kind: gaussian, channels: 4}",
        "shared: {norm: group, groups: 32, eps: 1.0e-05, act: silu, skip: conv}",
        "",
        "encoder:",
    ]
    assert lines[7] == "  - {block: down, out: 128, layers: 2, resample: conv_4x4}"


@pytest.mark.parametrize(
    "text", ["1e-6", "null", "a: b", "a #b", "0o17", "é", "wait ...", "two\nlines", " x ", "- x", "x" * 10_000]
)
def test_any_summary_survives_being_written_as_yaml(text):
    spec = replace(read_spec(model_file("vae_f8_z4")), summary=text)
    assert check_spec(parse_yaml(to_yaml(spec, BLOCKS), "a.yaml")).summary == text


def test_keys_on_which_rows_differ_are_written_in_the_rows():
    spec = change_spec(read_spec(model_file("vae_f8_z4")), {"encoder.1.groups": 16, "decoder.*.skip": "auto"})
    text = to_yaml(spec, BLOCKS)
    assert "shared: {norm: group, eps: 1.0e-05, act: silu}" in text
    assert check_spec(parse_yaml(text, "a.yaml")).hash == spec.hash


@pytest.mark.parametrize(
    "text",
    [
        re.sub(r"summary: .*\n", "", TEXT),
        re.sub(r"summary: .*", "summary: Something else.", TEXT),
        re.sub(r"expect: .*", "", TEXT),
        re.sub(r" +#.*", "", TEXT),
        replaced("latent: {kind: gaussian, channels: 4}", "latent: {channels: 4, kind: gaussian}"),
        replaced("{block: conv, out: 64, kernel: 3}", "{kernel: 3, out: 64, block: conv}"),
        replaced("eps: 1.0e-5", "eps: 0.00001"),
        replaced("eps: 1.0e-5", 'eps: 1e-5'),
        replaced("layers: 2, resample", "layers: 2, heads: 0, resample"),
        replaced("layers: 2, resample", "layers: 2, groups: 32, eps: 1.0e-5, resample"),
        replaced("out: moments, kernel: 3", "out: moments, kernel: 3, norm: group"),
        re.sub(r"(summary.*\n)((?:.|\n)*)(encoder:(?:.|\n)*?)(decoder:(?:.|\n)*?)(expect.*\n)", r"\5\4\n\3\2\1", TEXT),
        replaced("channels: 3", "channels: 0x3"),
        "# first line\n" + TEXT.replace("\n", "\r\n"),
    ],
)  # fmt: skip
def test_the_hash_does_not_see_what_changes_nothing(text):
    assert text != TEXT
    assert of(text) == HASHES["vae_f8_z4"]


def test_the_hash_does_not_see_whether_a_key_is_shared_or_spelled_out():
    own = "norm: group, groups: 32, eps: 1.0e-5, act: silu"
    text = re.sub(r"shared: .*", "", TEXT)
    text = text.replace("block: head,", f"block: head, {own},")
    for block in ("down", "mid", "up"):
        text = text.replace(f"block: {block},", f"block: {block}, {own}, skip: conv,")
    assert "shared" not in text
    assert of(text) == HASHES["vae_f8_z4"]


def test_an_integer_where_a_float_is_declared_is_the_same_number():
    assert of(replaced("eps: 1.0e-5", "eps: 1")) == of(replaced("eps: 1.0e-5", "eps: 1.0")) != HASHES["vae_f8_z4"]


def test_the_hash_does_not_see_the_name_nor_whether_the_text_is_yaml_or_json():
    spec = read_spec(model_file("vae_f8_z4"))
    assert check_spec(parse_json(json.dumps(spec.to_dict()), "config.json"), "other").hash == spec.hash


CHANGES = [
    ("image: {channels: 3}", "image: {channels: 1}"),
    ("kind: gaussian", "kind: deterministic"),
    ("latent: {kind: gaussian, channels: 4}", "latent: {kind: gaussian, channels: 8}"),
    ("groups: 32", "groups: 16"),
    ("eps: 1.0e-5", "eps: 1.0e-6"),
    ("act: silu", "act: relu"),
    ("skip: conv", "skip: auto"),
    ("out: 64, kernel: 3", "out: 96, kernel: 3"),
    ("out: 64, kernel: 3", "out: 64, kernel: 5"),
    ("out: 128, layers: 2", "out: 128, layers: 3"),
    ("layers: 2, resample: conv_4x4", "layers: 2, resample: null"),
    ("layers: 2, resample: conv_4x4", "layers: 2, resample: conv_3x3_asymmetric"),
    ("layers: 2, resample: conv_4x4", "layers: 2, resample: conv_4x4, heads: 1"),
    ("resample: conv_transpose_4x4", "resample: nearest_conv_3x3"),
    ("layers: 2, heads: 4", "layers: 2, heads: 8"),
    ("out: moments", "out: 8"),  # the same width today, but not when latent.channels changes
    ("  - {block: conv, out: latent, kernel: 1}\n", ""),
    ("  - {block: conv, out: 256, kernel: 3}\n", 2 * "  - {block: conv, out: 256, kernel: 3}\n"),
]


def test_the_hash_sees_every_change_of_the_network():
    hashes = [of(replaced(old, new)) for old, new in CHANGES]
    assert len({HASHES["vae_f8_z4"], *hashes}) == 1 + len(CHANGES)
