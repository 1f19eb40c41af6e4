"""Text to located trees: YAML 1.2 scalars, places, what is refused, and JSON as the twin."""

import pytest

from vaezoo.errors import FileError, SpecError
from vaezoo.specs import parse
from vaezoo.specs.parse import parse_json, parse_scalar, parse_yaml, read_tree
from vaezoo.specs.tree import Location, Node, from_plain


def refusal(text: str, parse=parse_yaml) -> str:
    with pytest.raises(SpecError) as caught:
        parse(text, "a.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("NULL", None),
        ("nUll", "nUll"),
        ("true", True),
        ("False", False),
        ("tRue", "tRue"),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("0", 0),
        ("-0", 0),
        ("+7", 7),
        ("007", 7),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b11", "0b11"),
        ("21_970_983", 21_970_983),
        ("21_97", "21_97"),
        ("1__000", "1__000"),
        ("_1", "_1"),
        ("1:30", "1:30"),
        ("2001-12-14", "2001-12-14"),
        ("999999999999999999", 999_999_999_999_999_999),
        ("٣", "٣"),
        ("1e-6", 1e-6),
        ("1E3", 1000.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.5e+1", -5.0),
        ("1_000.5", "1_000.5"),
        (".", "."),
        ("1e", "1e"),
        ("conv_4x4", "conv_4x4"),
        ("'16'", "16"),
        ('"null"', "null"),
        ('"a\\tb\\u00e9"', "a\tbé"),
        ("|\n  a\n  b", "a\nb"),
    ],
)
def test_plain_scalars_follow_the_core_schema_of_yaml_1_2(text, value):
    found = parse_yaml(f"key: {text}", "a.yaml").value["key"].value
    assert (found, type(found)) == (value, type(value))


def test_minus_zero_keeps_its_sign_as_a_float_and_has_none_as_an_integer():
    assert [str(n) for n in parse_yaml("[-0, -0.0]", "a.yaml").plain()] == ["0", "-0.0"]


@pytest.mark.parametrize("text", [".inf", "-.INF", ".nan", "1e400", "1e18", "-1000000000000000000", "9" * 200_000])
def test_a_number_that_is_not_finite_or_too_large_is_refused_in_a_short_message(text):
    assert refusal(f"key: {text}") == "a.yaml:1:6: expected a finite number below 1e+18"


def test_every_value_and_key_knows_its_line_and_column():
    root = parse_yaml("a: 1\nb:\n  - {c: x, d: [2, 3]}\n", "a.yaml")
    row = root.value["b"].value[0]
    assert str(root.keys["b"]) == "a.yaml:2:1"
    assert str(row.location) == "a.yaml:3:5"
    assert str(row.keys["d"]) == "a.yaml:3:12"
    assert str(row.value["d"].value[1].location) == "a.yaml:3:19"
    assert root.plain() == {"a": 1, "b": [{"c": "x", "d": [2, 3]}]}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_counted_whatever_ends_them(end):
    assert str(parse_yaml(f"a: 1{end}b: 2{end}", "a.yaml").keys["b"]) == "a.yaml:2:1"


def test_keys_are_words_even_where_they_look_like_values():
    assert parse_yaml("{on: 1, 5: 2, null: 3, <<: 4}", "a.yaml").plain() == {"on": 1, "5": 2, "null": 3, "<<": 4}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x 1", "a.yaml:1:4: anchors and aliases are not supported; write the value out"),
        ("a: *x", "a.yaml:1:4: anchors and aliases are not supported; write the value out"),
        ("{a: 1, <<: *x}", "a.yaml:1:12: anchors and aliases are not supported; write the value out"),
        ("a: !!float 1", "a.yaml:1:4: tags are not supported; remove 'tag:yaml.org,2002:float'"),
        ("a: ! b", "a.yaml:1:4: tags are not supported; remove '!'"),
        (
            "!!python/object:os.system x",
            "a.yaml:1:1: tags are not supported; remove 'tag:yaml.org,2002:python/object:os.system'",
        ),
        ("a: 1\nb: 2\na: 3", "a.yaml:3:1: duplicate key 'a'; first at a.yaml:1:1"),
        ("{a: 1, 'a': 2}", "a.yaml:1:8: duplicate key 'a'; first at a.yaml:1:2"),
        ("a: 1\n---\nb: 2", "a.yaml:2:1: second document; expected one document per file"),
        ("? [a]\n: 1", "a.yaml:1:3: expected text as a key, got a list or mapping"),
        ('{"": 1}', "a.yaml:1:2: a key is 1 to 100 printable characters, not ''"),
        ('"a\\nb": 1', "a.yaml:1:1: a key is 1 to 100 printable characters, not 'a\\nb'"),
        ("# nothing", "a.yaml: empty; expected a YAML document"),
        ("", "a.yaml: empty; expected a YAML document"),
        ("a: [1, 2", "a.yaml:1:9: not YAML: expected ',' or ']', but got '<stream end>'"),
        ("a: b: c", "a.yaml:1:5: not YAML: mapping values are not allowed here"),
        ("a: 1\n\tb: 2", "a.yaml:2:1: not YAML: found character '\\t' that cannot start any token"),
        ("%YAML 2.0\n---\na: 1", "a.yaml:1:1: not YAML: found incompatible YAML document (version 1.* is required)"),
        ("a: 1\nb: \0", "a.yaml:2:4: not YAML: character U+0000 is not allowed"),
        ("a: \x1b[31m", "a.yaml:1:4: not YAML: character U+001B is not allowed"),
        ('a: "\\ud800"', "a.yaml:1:4: '\\ud800' contains a control character or an unpaired surrogate"),
        ('a: "x\\0y"', "a.yaml:1:4: 'x\\x00y' contains a control character or an unpaired surrogate"),
        ("a: " + "x" * 10_001, "a.yaml:1:4: text of 10,001 characters; the limit is 10,000"),
        ("[" * 50, "a.yaml:1:14: too deep or too large (limits: 12 levels, 20,000 values)"),
        pytest.param(
            "- 1\n" * 20_000,
            "a.yaml:20000:3: too deep or too large (limits: 12 levels, 20,000 values)",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_yaml_offers_and_a_spec_does_not_need_is_refused_at_its_place(text, message):
    assert refusal(text) == message


@pytest.mark.parametrize("text", ["%YAML 1." + "9" * 5000 + "\n--- a", 'a: "\\UFFFFFFFF"', 'a: "\\U00110000"'])
def test_numbers_that_pyyaml_itself_stumbles_over_are_refused(text):
    assert refusal(text).startswith("a.yaml: not YAML: a %YAML version or \\U escape is out of range (")


def test_a_very_long_word_does_not_make_a_very_long_message():
    assert len(refusal("a: !" + "x" * 1000 + " 1")) < 120
    assert len(refusal("? " + "k" * 2000 + "\n: 1")) < 120


def test_the_longest_key_is_a_hundred_characters():
    assert list(parse_yaml("k" * 100 + ": 1", "a.yaml").value) == ["k" * 100]
    assert refusal("k" * 101 + ": 1").startswith("a.yaml:1:1: a key is 1 to 100 printable characters")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "a.yaml:1:2: not JSON: Expecting property name enclosed in double quotes"),
        ('{\n"a": 1,\n"b": }', "a.yaml:3:6: not JSON: Expecting value"),
        ('{"a": 1, "a": 2}', "a.yaml: duplicate key 'a'"),
        ('{"a": NaN}', "a.yaml: expected a finite number below 1e+18"),
        ('{"a": 1e400}', "a.yaml: expected a finite number below 1e+18"),
        ('{"a": 1000000000000000000}', "a.yaml: expected a finite number below 1e+18"),
        ('{"a": "\\ud800"}', "a.yaml: '\\ud800' contains a control character or an unpaired surrogate"),
        ('{"": 1}', "a.yaml: a key is 1 to 100 printable characters, not ''"),
        ("[" * 14 + "]" * 14, "a.yaml: too deep or too large (limits: 12 levels, 20,000 values)"),
        ("[" + "1," * 20_000 + "1]", "a.yaml: too deep or too large (limits: 12 levels, 20,000 values)"),
    ],
)
def test_json_is_refused_for_the_same_faults(text, message):
    assert refusal(text, parse_json) == message


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a": ' + "9" * 5000 + "}"])
def test_json_that_python_itself_stumbles_over_is_refused(text):
    assert refusal(text, parse_json).startswith("a.yaml: not JSON that vaezoo can read: ")


def test_json_and_yaml_of_the_same_data_are_the_same_tree():
    text = '{"a": [1, 2.5, true, null, "x"], "b": {"c": 1e-6}}'
    assert (
        parse_json(text, "a").plain()
        == parse_yaml(text, "a").plain()
        == {
            "a": [1, 2.5, True, None, "x"],
            "b": {"c": 1e-6},
        }
    )


def test_plain_data_takes_its_place_from_the_caller_and_refuses_what_yaml_could_not_say():
    location = Location("override latent.channels")
    assert from_plain((1, 2), location) == Node([Node(1, location), Node(2, location)], location)
    for data, message in [
        ({3: 1}, "a key is 1 to 100 printable characters, not 3"),
        (b"x", "expected null, true, false, a number, text, a list or a mapping, got bytes"),
        ([10**5000], "expected a finite number below 1e+18"),
    ]:
        with pytest.raises(SpecError) as caught:
            from_plain(data, location)
        assert str(caught.value) == f"override latent.channels: {message}"


def test_a_list_that_holds_itself_is_too_deep():
    endless: list = []
    endless.append(endless)
    with pytest.raises(SpecError, match="too deep"):
        from_plain(endless, Location("x"))


def test_a_setting_is_read_like_a_value_of_a_file():
    location = Location("--set x")
    texts = ("16", "1e-6", "no", "", " ", "null", "[1, a]", "'2'")
    values = [parse_scalar(text, location).plain() for text in texts]
    assert values == [16, 1e-6, "no", None, None, None, [1, "a"], "2"]
    assert parse_scalar("[1]", location).value[0].location == location


def test_files_are_read_as_utf_8_with_or_without_a_mark_and_as_json_by_their_suffix(tmp_path):
    for name, content in [("a.yaml", b"\xef\xbb\xbfa: 1"), ("a.yml", b"a: 1"), ("a.json", b'\xef\xbb\xbf{"a": 1}')]:
        (tmp_path / name).write_bytes(content)
        assert read_tree(tmp_path / name).plain() == {"a": 1}
    (tmp_path / "b.json").write_bytes(b"a: 1")
    with pytest.raises(SpecError, match="not JSON"):
        read_tree(tmp_path / "b.json")


def test_a_file_that_was_written_anew_is_read_anew(tmp_path):
    file = tmp_path / "a.yaml"
    for number in (1, 2):
        file.write_text(f"a: {number}")
        assert read_tree(file).plain() == {"a": number}


def test_a_file_that_is_no_utf_8_text_says_where_it_stops_being_one(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_bytes(b"a: caf\xe9")
    with pytest.raises(SpecError) as caught:
        read_tree(file)
    assert str(caught.value) == f"{file}: not UTF-8 text (byte 6); save it as UTF-8"


def test_a_file_that_is_missing_a_folder_or_too_large_is_a_file_error(tmp_path):
    large = tmp_path / "a.yaml"
    large.write_bytes(b" " * (parse.MAX_BYTES + 1))
    with pytest.raises(FileError, match="larger than 262,144 bytes"):
        read_tree(large)
    for path in (tmp_path, tmp_path / "none.yaml", large / "x.yaml", "a\0b.yaml", ""):
        with pytest.raises(FileError, match="cannot be read"):
            read_tree(path)
