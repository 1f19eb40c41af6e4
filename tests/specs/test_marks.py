"""Marks and rules of the checker: lists, patterns, tagged unions, inlined signatures, and rules between keys."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest

from vaezoo.errors import SpecError
from vaezoo.specs.check import check, convert, fields_of
from vaezoo.specs.faults import Faults
from vaezoo.specs.hashing import json_hash
from vaezoo.specs.marks import Between, Inlined, Items, Kinds, Pattern
from vaezoo.specs.parse import parse_yaml
from vaezoo.specs.tree import Node


class Circle:
    def __init__(self, *, radius: Annotated[float, Between(0, 9)]) -> None:
        self.radius = radius


class Box:
    def __init__(self, *, width: int, height: int = 1) -> None:
        self.size = width, height


class Pen:
    def __init__(self, paper: str, *, color: str = "black") -> None:
        self.paper, self.color = paper, color


@dataclass(frozen=True, kw_only=True)
class Shape:
    kind: str
    area: Annotated[int, Between(0, 9)] = 0
    arguments: dict[str, Any] = field(default_factory=dict)
    pen: Annotated[dict[str, Any], Inlined(Pen)]


@dataclass(frozen=True, kw_only=True)
class Range:
    low: int
    high: int

    def find_faults(self) -> Iterator[tuple[str, str]]:
        if self.low > self.high:
            yield "high", f"expected {self.low} or more"


@dataclass(frozen=True, kw_only=True)
class Drawing:
    shapes: Annotated[tuple[Annotated[Shape, Kinds({"circle": Circle, "box": Box})], ...], Items(1, 2)] = ()
    levels: Annotated[tuple[int, ...], Items(1, distinct=True)] = (1,)
    code: Annotated[str, Pattern(re.compile("[a-z]{3}"), "three letters")] | None = None
    ranges: dict[str, Range] = field(default_factory=dict)
    rest: Node | None = None


def faults(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        check(parse_yaml(text, "t"), Drawing)
    return str(caught.value).splitlines()


def test_the_kind_picks_the_signature_of_the_other_keys():
    text = "shapes: [{kind: circle, radius: 2, color: red}, {kind: box, height: 3, width: 4, area: 5}]"
    first, second = check(parse_yaml(text, "t"), Drawing).shapes
    assert first == Shape(kind="circle", arguments={"radius": 2.0}, pen={"color": "red"})
    assert second == Shape(kind="box", area=5, arguments={"height": 3, "width": 4}, pen={})


def test_faults_of_a_tagged_union_name_the_picked_class():
    assert faults("shapes: [{kind: box, radius: 2}]") == [
        "t:1:22: shapes[0].radius: unknown key 'radius' for Box; known: kind, area, color, width and height",
        "t:1:10: shapes[0]: missing width for Box",
    ]
    assert faults("shapes: [{kind: circle, radius: 10}, {kind: circl, area: 10, radius: 10}]") == [
        "t:1:33: shapes[0].radius: expected 0 to 9, got 10.0",
        "t:1:45: shapes[1].kind: unknown kind 'circl'; did you mean 'circle'?",
        "t:1:58: shapes[1].area: expected 0 to 9, got 10",
    ]
    example = "expected a mapping with a kind, such as {kind: circle, …}"
    assert faults("shapes: [circle, {area: 2}]") == [f"t:1:10: shapes[0]: {example}", f"t:1:18: shapes[1]: {example}"]


def test_lists_have_a_number_of_items_and_texts_a_pattern():
    assert faults("shapes: []") == ["t:1:9: shapes: expected 1 to 2 items, got 0"]
    assert faults("levels: []") == ["t:1:9: levels: expected at least 1 item, got 0"]
    assert faults("levels: [1, 2, 1]") == ["t:1:9: levels: expected every item once"]
    assert faults("code: ab1") == ["t:1:7: code: expected three letters, got 'ab1'"]
    assert check(parse_yaml("{code: null, levels: [2, 1]}", "t"), Drawing) == Drawing(levels=(2, 1))


def test_rules_between_keys_are_checked_once_every_key_is_right():
    assert faults("ranges: {a: {low: 3, high: 2}, b.c: {low: 9, high: 8}}") == [
        "t:1:28: ranges.a.high: expected 3 or more",
        "t:1:52: ranges.b.c.high: expected 9 or more",
    ]
    assert faults("ranges: {a: {low: 3, high: two}}") == ["t:1:28: ranges.a.high: expected an integer, got 'two'"]
    assert check(parse_yaml("ranges: {a: {low: 2, high: 3}}", "t"), Drawing).ranges == {"a": Range(low=2, high=3)}


def test_a_node_is_left_as_it_is():
    rest = check(parse_yaml("rest: {a: [1, x]}", "t"), Drawing).rest
    assert rest is not None
    assert (rest.plain(), str(rest.at("a[1]").location), str(rest.at("a[2].b").location)) == (
        {"a": [1, "x"]},
        "t:1:15",
        "t:1:11",
    )


def test_only_keyword_only_arguments_are_keys():
    assert list(fields_of(Pen)) == ["color"]


def test_the_hash_of_plain_data_does_not_depend_on_the_order_of_keys():
    assert json_hash({"b": [1, 2.5, None], "a": "é"}) == json_hash({"a": "é", "b": [1, 2.5, None]})
    assert json_hash({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_hash(float("nan"))


@dataclass(frozen=True, kw_only=True)
class Inner:
    values: tuple[Annotated[float, Between(0, 1.5)], ...]


@dataclass(frozen=True, kw_only=True)
class Outer:
    mode: Literal["a", 2]
    inner: Inner | None = None


def checked(text: str) -> tuple[object, list[str]]:
    found = Faults()
    return convert(parse_yaml(text, "t"), Outer, "", found), list(found.lines)


def test_any_keyword_only_dataclass_is_a_schema():
    assert checked("{mode: 2, inner: {values: [0, 0.5]}}") == (Outer(mode=2, inner=Inner(values=(0.0, 0.5))), [])
    assert checked("{mode: a, inner: null}") == (Outer(mode="a"), [])
    assert checked("{mode: 2.0}")[1] == ["t:1:8: mode: expected 'a' or 2, got 2.0"]
    assert checked("{mode: a, inner: {values: [0, 2, x]}}")[1] == [
        "t:1:31: inner.values[1]: expected 0 to 1.5, got 2.0",
        "t:1:34: inner.values[2]: expected a number, got 'x'",
    ]
    assert checked("{mode: a, inner: {values: 1}}")[1] == [
        "t:1:27: inner.values: expected a list (each item a number), got 1"
    ]
    assert checked("{mode: a, inner: 3}")[1] == ["t:1:18: inner: expected a mapping or null, got 3"]


@dataclass(frozen=True, kw_only=True)
class Owner:
    before: int = 1
    inner: Annotated[Inner, Inlined()]
    after: int


def test_the_keys_of_an_inlined_dataclass_stand_among_those_of_its_owner():
    found = Faults()
    assert list(fields_of(Owner)) == ["before", "values", "after"]
    owner = check(parse_yaml("{values: [1], after: 2}", "t"), Owner)
    assert owner == Owner(inner=Inner(values=(1.0,)), after=2)
    convert(parse_yaml("{inner: {values: [1]}}", "t"), Owner, "", found)
    assert list(found.lines) == [
        "t:1:2: inner: unknown key 'inner' for Owner; known: before, values and after",
        "t:1:1: missing values and after for Owner",
    ]
