"""Names: what they mean, which exist, which were renamed, and the records of weights behind them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.config_folder import add_records

import vaezoo
from vaezoo.errors import FileError, InputError, SpecError, UnknownNameError
from vaezoo.specs import catalog, names
from vaezoo.specs.catalog import add_config_dir, canonical, files, match, model_file, natural
from vaezoo.specs.listing import facts, list_models
from vaezoo.specs.names import ModelName, parse_name
from vaezoo.weights.records import all_records, expand_alias, find_record, list_pretrained

TEXT = model_file("vae_f8_z4_micro").read_text(encoding="utf-8")
RECORD = f"\n  source: {{file: a.safetensors}}\n  layout: native\n  license: mit\n  sha256: '{64 * '0'}'\n"


def test_f8_comes_before_f16():
    found = list_models()
    assert found.index("vae_f4_z3") < found.index("vae_f8_z4") < found.index("vae_f8_z16") < found.index("vae_f16_z16")
    assert sorted(["a10", "a9", "a", "a9b", "b1", "10", "9"], key=natural) == ["9", "10", "a", "a9", "a9b", "a10", "b1"]


def test_a_range_in_a_pattern_is_a_range():
    assert list_models("vae-f[1-9]-z[4-9]") == ["vae_f8_z4"]
    assert list_models("vae_f[!1-4]_z4") == ["vae_f8_z4"]


def test_patterns_choose_and_leave_out_names_in_either_spelling():
    assert list_models("vae_f16*") == list_models("vae-f16*") == ["vae_f16_z16"]
    assert list_models("vae_f8_z4*", exclude="*-z4-*") == ["vae_f8_z4"]
    assert list_models("vae_f8_z4*", exclude=["*_micro", "*_deep", "*-wide", "*-quarter"]) == [
        "vae_f8_z4",
        "vae_f8_z4_noattn",
    ]
    assert list_models("nothing*") == []
    assert match(["a", "b"], "[ab]", exclude="b") == ["a"]


def test_networks_are_chosen_by_their_facts(folder):
    assert list_models("vae_*", latent_channels=4, max_params=1_000_000) == ["vae_f8_z4_micro"]
    assert list_models("vae_*", downscale=4) == ["vae_f4_z3"]
    assert list_models("vae_f8_z4*", min_params=21_970_983, max_params=21_970_983) == ["vae_f8_z4"]
    assert list_models("vae_*", latent_channels=16, downscale=8, exclude="vae_*") == []
    assert list_models("vae_*", max_params=0) == []
    (folder / "models" / "odd.yaml").write_text("{summary: says nothing of itself}")
    (folder / "models" / "unsized.yaml").write_text("{latent: {channels: 4}}")
    add_config_dir(folder)
    assert list_models("odd") == ["odd"]
    assert list_models("odd", min_params=0) == list_models("odd", latent_channels=4) == []
    assert list_models("unsized", latent_channels=4) == ["unsized"]
    assert list_models("unsized", latent_channels=4, max_params=1_000_000_000) == []


@pytest.mark.parametrize(
    ("pattern", "changes", "named"),
    [
        (5, {}, "5 is not a pattern"),
        (None, {}, "None is not a pattern"),
        ("*", {"exclude": 5}, "5 is not a pattern"),
        ("*", {"exclude": ["a", b"b"]}, "b'b' is not a pattern"),
        ("*", {"latent_channels": "4"}, "latent_channels='4': expected a number"),
        ("*", {"downscale": [8]}, r"downscale=\[8\]: expected a number"),
        ("*", {"min_params": "1M"}, "min_params='1M': expected a number"),
        ("*", {"max_params": "1M"}, "max_params='1M': expected a number"),
    ],
)
def test_a_filter_of_another_type_is_named(pattern, changes, named):
    with pytest.raises(InputError, match=named):
        list_models(pattern, **changes)


def test_every_shipped_file_has_a_name_and_all_weights_a_network():
    for kind in ("models", "weights"):
        assert all(catalog.is_name(path.stem) and path.stem == name for name, path in files(kind).items())
    assert files("weights").keys() <= files("models").keys()


def test_an_alias_is_unique_over_the_zoo_and_no_network_s_name():
    records = list(all_records())
    taken = [*files("models"), *(canonical(alias) for t in records for alias in t.record.aliases)]
    assert len(set(taken)) == len(taken), sorted(name for name in set(taken) if taken.count(name) > 1)


def test_listing_needs_no_torch():
    code = "import sys, vaezoo; vaezoo.list_models(); vaezoo.list_pretrained(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_facts_are_read_from_the_file_as_they_stand_there(folder):
    assert facts("vae_f8_z4")[2:] == (4, 8, 21_970_983)
    assert facts("vae_f8_z4").summary.startswith("The base network of the zoo")
    (folder / "models" / "odd.yaml").write_text("{summary: {a: 1}, latent: 3, expect: {params: many}}")
    add_config_dir(folder)
    assert facts("odd") == ("odd", "", None, None, None)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("vae_f8_z4", ModelName("zoo", "vae_f8_z4")),
        ("vae-f8-z4", ModelName("zoo", "vae_f8_z4")),
        ("vae_f8_z4.photos-v1", ModelName("zoo", "vae_f8_z4", "photos_v1")),
        ("hf-hub:org/my-vae", ModelName("hf-hub", "org/my-vae")),
        ("hf_hub:org/name@v1.0", ModelName("hf-hub", "org/name", revision="v1.0")),
        ("HF-Hub:org/name", ModelName("hf-hub", "org/name")),
        ("hf-hub:org/name#vae", ModelName("hf-hub", "org/name", subfolder="vae")),
        ("hf-hub:org/name@v1.0#in/vae", ModelName("hf-hub", "org/name", revision="v1.0", subfolder="in/vae")),
        ("local-dir:a/b@c", ModelName("local-dir", "a/b@c")),
        ("local-dir:a/b#c#vae", ModelName("local-dir", "a/b#c", subfolder="vae")),
        ("local-dir:a/b#.", ModelName("local-dir", "a/b", subfolder=".")),
        ("file:a#b.safetensors", ModelName("file", "a#b.safetensors")),
        ("local_dir:C:\\x", ModelName("local-dir", "C:\\x")),
        ("file:a.safetensors", ModelName("file", "a.safetensors")),
        ("a/b-c.yaml", ModelName("yaml", "a/b-c.yaml")),
        (Path("a/b.yml"), ModelName("yaml", "a/b.yml")),
    ],
)
def test_a_name_says_where_to_look(text, name):
    assert parse_name(text) == name


@pytest.mark.parametrize("text", ["org/name", "C:\\weights", "hub:org/name", ""])
def test_a_name_with_a_slash_and_no_prefix_names_the_prefixes(text):
    with pytest.raises(UnknownNameError) as caught:
        parse_name(text)
    assert str(caught.value) == (
        f"{text!r} is not a model name; write hf-hub:{text} for a repository on the Hub, local-dir:{text} for a "
        f"published folder, file:{text} for a weights file, or a path that ends in .yaml for a network"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vae_f8_z4.", "'vae_f8_z4.': nothing follows the dot; write network.tag or network"),
        ("hf-hub:a/b@", "'hf-hub:a/b@': nothing follows the @; write hf-hub:a/b@revision or hf-hub:a/b"),
        ("hf-hub:a/b#", "'hf-hub:a/b#': nothing on one side of the #; write hf-hub:org/name#subfolder"),
        ("hf-hub:a/b#../c", "'hf-hub:a/b#../c': '../c' is not a subfolder of a repository; write one such as #vae"),
        ("local-dir:#vae", "'local-dir:#vae': nothing on one side of the #; write local-dir:folder#subfolder"),
        ("hf-hub:", "'hf-hub:': nothing follows the colon; write hf-hub:org/name"),
        ("file:", "'file:': nothing follows the colon; write file:weights.safetensors"),
    ],
)
def test_half_a_name_says_what_is_missing(text, message):
    with pytest.raises(UnknownNameError) as caught:
        parse_name(text)
    assert str(caught.value) == message


def test_a_name_that_does_not_exist_gets_the_nearest_ones():
    with pytest.raises(UnknownNameError, match=r"no model is called 'vae_f8_z5'; did you mean vae_f8_z4 or "):
        expand_alias(parse_name("vae-f8-z5"))
    with pytest.raises(UnknownNameError, match=r"'zzz'; known: \w+_z\d+, .*vaezoo\.list_models\(\)"):
        model_file("zzz")


def test_one_s_own_networks_and_weights_join_the_catalog_in_either_spelling(folder):
    add_records(folder, f"default: v2\nv1:{RECORD}v2:{RECORD}  aliases: [my-alias]\n")
    add_config_dir(str(folder))  # a second time changes nothing
    assert list_models("mine*") == ["mine_f8_z4"]
    assert list_pretrained("mine-*") == ["mine_f8_z4.v1", "mine_f8_z4.v2"]
    assert vaezoo.get_spec("mine-f8-z4").hash == vaezoo.get_spec("vae_f8_z4_micro").hash
    assert find_record(parse_name("mine-f8_z4")).name == "mine_f8_z4.v2"
    assert (
        expand_alias(parse_name("my_alias"))
        == expand_alias(parse_name("my-alias"))
        == ModelName("zoo", "mine_f8_z4", "v2")
    )
    assert [vaezoo.is_model(n) for n in ("mine_f8_z4.v1", "mine_f8_z4.v3", "my-alias", "a/b")] == [
        True,
        False,
        True,
        False,
    ]


def test_a_folder_cannot_hide_a_name_that_exists(folder):
    shutil.copy(folder / "models" / "mine-f8_z4.yaml", folder / "models" / "vae-f8-z4.yaml")
    with pytest.raises(SpecError) as caught:
        add_config_dir(folder)
    taken = files("models")["vae_f8_z4"]
    assert str(caught.value) == (
        f"{folder / 'models' / 'vae-f8-z4.yaml'}: models/vae_f8_z4 already exists at {taken}; rename the file"
    )
    assert "mine_f8_z4" not in list_models()  # all of the folder or nothing


def test_a_folder_cannot_name_one_network_twice_nor_replace_weights_on_record(folder):
    (folder / "models" / "mine_f8_z4.yaml").write_text(TEXT)
    with pytest.raises(SpecError, match=r"mine_f8_z4 already exists at .*rename the file"):
        add_config_dir(folder)
    (folder / "models" / "mine_f8_z4.yaml").unlink()
    (folder / "weights" / "vae_f8_z4.yaml").write_text(f"default: v1\nv1:{RECORD}")
    with pytest.raises(SpecError, match="weights/vae_f8_z4 already exists"):
        add_config_dir(folder)


def test_a_folder_that_is_none_or_has_odd_names_is_refused(folder, tmp_path):
    with pytest.raises(FileError, match=r"no folder with models/\*\.yaml or weights/\*\.yaml"):
        add_config_dir(tmp_path / "models")
    (folder / "weights" / "other.yaml").write_text("")
    with pytest.raises(SpecError, match=r"other\.yaml: weights without a network; name the file after one of models/"):
        add_config_dir(folder)
    (folder / "models" / "a.b.yaml").write_text(TEXT)
    with pytest.raises(SpecError, match=r"'a\.b' is not a name; a name consists of letters, digits"):
        add_config_dir(folder)
    assert catalog._added == []


def test_a_renamed_network_tag_or_alias_works_with_a_warning(monkeypatch):
    monkeypatch.setattr(names, "DEPRECATED", {
        "old_net": ("vae_f8_z4", "0.3.0"),
        "vae_f8_z4.old_tag": ("vae_f8_z4.photos_v1", "0.4.0"),
    })  # fmt: skip
    for text, new, told in [
        ("old-net", "vae_f8_z4", "old_net is now called vae_f8_z4; the old name will be removed in vaezoo 0.3.0"),
        ("old_net.photos_v1", "vae_f8_z4.photos_v1", "old_net is now called vae_f8_z4; "
         "the old name will be removed in vaezoo 0.3.0"),
        ("vae_f8_z4.old-tag", "vae_f8_z4.photos_v1", "vae_f8_z4.old_tag is now called vae_f8_z4.photos_v1; "
         "the old name will be removed in vaezoo 0.4.0"),
    ]:  # fmt: skip
        with pytest.warns(FutureWarning) as caught:
            assert vaezoo.get_spec(text).name == "vae_f8_z4"
        assert [str(warning.message) for warning in caught] == [told]
        assert caught[0].filename == __file__  # it points at the caller's line
        with pytest.warns(FutureWarning):
            assert parse_name(text) == parse_name(new)


def test_every_deprecated_name_is_free_and_stands_for_one_that_exists():
    for old, (new, _) in names.DEPRECATED.items():
        assert old not in list_models()
        assert vaezoo.is_model(new)
