"""Changes to a network for one run: paths, wildcards, settings of the command line, and their errors."""

import pytest

from vaezoo.errors import SpecError
from vaezoo.nn.blocks import BLOCKS
from vaezoo.nn.schema import change_spec, check_spec
from vaezoo.specs.catalog import model_file
from vaezoo.specs.model import BlockSpec
from vaezoo.specs.overrides import parse_settings
from vaezoo.specs.parse import parse_yaml
from vaezoo.specs.tree import Location
from vaezoo.zoo.spec_file import read_spec

SPEC = read_spec(model_file("vae_f8_z4"))
PATHS = (
    "no such path; expected latent.channels, latent.kind, image.channels, or half.row.key such as "
    "encoder.4.heads, encoder.*.layers or *.*.skip"
)


def column(spec, half: str, key: str) -> list:
    return [row.arguments.get(key) for row in getattr(spec, half)]


def refusal(changes: dict) -> str:
    with pytest.raises(SpecError) as caught:
        change_spec(SPEC, changes)
    return str(caught.value)


def test_a_path_changes_one_value_and_leaves_the_original_alone():
    changed = change_spec(SPEC, {"latent.channels": 16, "encoder.4.heads": 8, "decoder.2.heads": 0})
    assert (changed.latent.channels, SPEC.latent.channels) == (16, 4)
    assert column(changed, "encoder", "heads") == [None, None, None, None, 8, None, None]
    assert column(changed, "decoder", "heads") == [None, None, 0, None, None, None, None]
    assert column(SPEC, "encoder", "heads") == [None, None, None, None, 4, None, None]


def test_the_changed_network_is_the_one_that_a_file_would_give():
    changed = change_spec(SPEC, {"latent.channels": 16})
    assert changed == read_spec(model_file("vae_f8_z16"))
    assert changed.hash == read_spec(model_file("vae_f8_z16")).hash


def test_name_and_summary_say_the_changes_and_expect_is_dropped_because_it_no_longer_holds():
    assert SPEC.expect is not None
    changed = change_spec(SPEC, {"latent.channels": 16, "encoder.2.resample": None})
    assert changed.name == "vae_f8_z4+latent.channels=16,encoder.2.resample=null"
    assert changed.summary == "vae_f8_z4 with latent.channels=16, encoder.2.resample=null."
    assert changed.expect is None


def test_a_star_for_the_row_touches_the_rows_whose_block_has_the_key():
    changed = change_spec(SPEC, {"encoder.*.layers": 3})
    assert column(changed, "encoder", "layers") == [None, 3, 3, 3, 3, None, None]
    assert column(changed, "decoder", "layers") == column(SPEC, "decoder", "layers")


def test_a_star_gives_a_key_to_rows_that_left_it_at_its_default():
    assert column(change_spec(SPEC, {"encoder.*.heads": 2}), "encoder", "heads") == [None, 2, 2, 2, 2, None, None]


def test_a_star_for_the_half_touches_both():
    changed = change_spec(SPEC, {"*.*.groups": 16})
    assert column(changed, "encoder", "groups") == [None, 16, 16, 16, 16, 16, None]
    assert column(changed, "decoder", "groups") == [None, None, 16, 16, 16, 16, 16]
    first = change_spec(SPEC, {"*.1.kernel": 5})  # the encoder's row 1 is a down block, which has none
    assert (first.encoder[1], first.decoder[1]) == (SPEC.encoder[1], BlockSpec("conv", {"out": 256, "kernel": 5}))


def test_later_changes_win_over_earlier_ones():
    changed = change_spec(SPEC, {"encoder.*.layers": 3, "encoder.2.layers": 5})
    assert column(changed, "encoder", "layers") == [None, 3, 5, 3, 3, None, None]


def test_null_is_a_value_and_text_names_a_choice():
    changed = change_spec(SPEC, {"encoder.1.resample": None, "encoder.2.resample": "conv_3x3_asymmetric"})
    assert column(changed, "encoder", "resample")[1:4] == [None, "conv_3x3_asymmetric", "conv_4x4"]


def test_a_row_can_become_another_block_whose_keys_it_has():
    mid = {"encoder.1.block": "mid", "encoder.1.heads": 1}
    assert "encoder[1].resample: unknown key 'resample' for MidBlock" in refusal(mid)
    text = """
    image: {channels: 3}
    latent: {kind: gaussian, channels: 4}
    encoder: [{block: conv, out: moments, kernel: 3}]
    decoder: [{block: conv, out: image, kernel: 3}]
    """
    small = check_spec(parse_yaml(text, "small"))
    changes = {"*.0.block": "head", "encoder.0.kernel": 1}
    with pytest.raises(SpecError, match=r"override \*\.0\.block: matches no row; unknown key 'block'"):
        change_spec(small, changes)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("latent", 16, f"override latent: {PATHS}"),
        ("latent.channels.x", 16, f"override latent.channels.x: {PATHS}"),
        ("shared.norm", "group", f"override shared.norm: {PATHS}"),
        ("encodr.1.layers", 3, f"override encodr.1.layers: {PATHS}"),
        ("", 3, f"override : {PATHS}"),
        (3, 3, f"override 3: {PATHS}"),
        ("latent.chanels", 3, "override latent.chanels: latent.chanels: unknown key 'chanels' for LatentSpec; "
         "did you mean 'channels'?"),
        ("latent.channels", "16", "override latent.channels: latent.channels: expected an integer, got '16'"),
        ("latent.channels", 0, "override latent.channels: latent.channels: expected 1 to 16,384, got 0"),
        ("latent.channels", {"a": 1}, "override latent.channels: latent.channels: expected an integer, got a mapping"),
        ("latent.channels", float("nan"), "override latent.channels: expected a finite number below 1e+18"),
        ("latent.channels", object(), "override latent.channels: expected null, true, false, "
         "a number, text, a list or a mapping, got object"),
        ("encoder.7.layers", 3, "override encoder.7.layers: encoder has rows 0 to 6 and *, not '7'"),
        ("encoder.-1.layers", 3, "override encoder.-1.layers: encoder has rows 0 to 6 and *, not '-1'"),
        ("encoder.01.layers", 3, "override encoder.01.layers: encoder has rows 0 to 6 and *, not '01'"),
        ("encoder.٣.layers", 3, "override encoder.٣.layers: encoder has rows 0 to 6 and *, not '٣'"),
        ("encoder.0.layers", 3, "override encoder.0.layers: encoder[0].layers: unknown key 'layers' for ConvBlock; "
         "known: out, kernel, padding, shortcut and block"),
        ("encoder.1.layer", 3, "override encoder.1.layer: encoder[1].layer: unknown key 'layer' for DownBlock; "
         "did you mean 'layers'?"),
        ("encoder.*.layer", 3, "override encoder.*.layer: matches no row; unknown key 'layer'; did you mean 'layers'?"),
        ("*.0.heads", 3, "override *.0.heads: matches no row; unknown key 'heads'; "
         "known: kernel, out, padding and shortcut"),
        ("encoder.1.block", "nope", "override encoder.1.block: encoder[1].block: unknown block 'nope'; "
         f"known: {', '.join(list(BLOCKS)[:-1])} and {list(BLOCKS)[-1]}; "
         "import the module of a block of your own first (commands: --import MODULE)"),
    ],
)  # fmt: skip
def test_a_change_that_cannot_be_made_names_its_path_and_the_remedy(path, value, message):
    assert refusal({path: value}) == message


def test_a_row_number_of_thousands_of_digits_is_refused_like_any_other():
    assert len(refusal({f"encoder.{'9' * 5000}.layers": 3})) < 5200


def test_all_faults_of_the_changes_stand_in_one_message():
    lines = refusal({"latent.channels": 0, "encoder.1.layers": 0, "encoder.2.resample": "conv4x4"}).splitlines()
    assert lines == [
        "override latent.channels: latent.channels: expected 1 to 16,384, got 0",
        "override encoder.1.layers: encoder[1].layers: expected 1 to 64, got 0",
        "override encoder.2.resample: encoder[2].resample: unknown resample 'conv4x4'; did you mean 'conv_4x4'?",
    ]


def test_an_unknown_block_in_one_change_does_not_break_a_wildcard_in_another():
    assert "unknown block 'nope'" in refusal({"encoder.1.block": "nope", "encoder.*.layers": 3})
    assert "expected text, got a list" in refusal({"encoder.1.block": ["mid"], "*.*.layers": 3})


def test_settings_are_read_like_values_of_a_file():
    settings = parse_settings(["latent.channels=16", "encoder.1.resample=null", "*.*.eps=1e-6", "a=b=c", "x="])
    assert {path: node.plain() for path, node in settings.items()} == {
        "latent.channels": 16,
        "encoder.1.resample": None,
        "*.*.eps": 1e-6,
        "a": "b=c",
        "x": None,
    }
    assert settings["latent.channels"].location == Location("--set latent.channels")


def test_settings_change_a_network_and_are_named_in_its_faults():
    assert change_spec(SPEC, parse_settings(["latent.channels=16"])).latent.channels == 16
    assert refusal(parse_settings(["latent.channels=a"])) == (
        "--set latent.channels: latent.channels: expected an integer, got 'a'"
    )
    assert refusal(parse_settings(["encoder.9.layers=1"])) == (
        "--set encoder.9.layers: encoder has rows 0 to 6 and *, not '9'"
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["latent.channels"], "--set latent.channels: expected path=value, such as latent.channels=16"),
        (["=16"], "--set =16: expected path=value, such as latent.channels=16"),
        (["a=1", "a=2"], "--set a=2: a is set twice"),
        (["a=[1"], "--set a:1:3: not YAML: expected ',' or ']', but got '<stream end>'"),
        (["a=&x 1"], "--set a:1:1: anchors and aliases are not supported; write the value out"),
        (["a=1e999"], "--set a:1:1: expected a finite number below 1e+18"),
    ],
)
def test_a_setting_that_cannot_be_read_is_refused(settings, message):
    with pytest.raises(SpecError) as caught:
        parse_settings(settings)
    assert str(caught.value) == message
