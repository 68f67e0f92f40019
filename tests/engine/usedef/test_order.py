"""Edges in the order of tokens."""

from __future__ import annotations

from engine.usedef import Edge, Name, analyse, in_token_order, token_edges

#         prefix         middle       suffix
SOURCE = "a = 1\nb = 2\nc = a + d\nd = 3\nprint(c, d)\n"
MIDDLE = (12, 22)


def shown(edges: tuple[Edge, ...]) -> list[tuple[str, int, list[int]]]:
    return [(use.text, use.start, [name.start for name in names]) for use, names in edges]


def test_definitions_behind_their_use_are_dropped() -> None:
    """In prefix, suffix, middle the suffix cannot see the middle, and the middle sees the suffix."""
    source = "def f():\n    return g\ndef g():\n    return f\n"
    middle = (0, source.index("def g"))
    edges = analyse(source, "python").edges

    assert shown(edges) == [("g", 20, [26]), ("f", 42, [4])]
    assert shown(in_token_order(edges, middle)) == [("g", 20, [26])]


def test_a_hole_leaves_the_order_of_the_text() -> None:
    edges = analyse(SOURCE, "python").edges
    assert shown(in_token_order(edges, (12, 12))) == shown(edges)
    assert ("c", 34, [12]) in shown(edges)
    assert [name for name, _, _ in shown(in_token_order(edges, MIDDLE))] == ["a", "d"]


def test_names_by_token() -> None:
    text = "name = 1\nprint(name)"
    edges = analyse(text, "python").edges
    offsets = [(0, 0), (0, 2), (2, 4), (4, 6), (6, 9), (9, 15), (15, 17), (17, 19), (19, 20)]
    ((use, (definition,)),) = token_edges(edges, offsets)

    assert (use.tokens, use.last, use.after) == ((6, 7), 7, 8)
    assert (definition.tokens, definition.last, definition.after) == ((1, 2), 2, 3)


def test_a_token_over_two_names_and_names_without_tokens() -> None:
    edge = Edge(Name("b", 4, 5), (Name("b", 0, 1), Name("b", 2, 3)))
    assert token_edges([edge], [(0, 5)]) == ()
    assert token_edges([edge], [(0, 1), (1, 2), (4, 5)])[0].definitions[0].tokens == (0,)
    assert token_edges([edge], [(0, 3)]) == ()


def test_tokens_in_the_order_prefix_suffix_middle() -> None:
    edges = [Edge(Name("x", 10, 11), (Name("x", 0, 1), Name("x", 20, 21)))]
    offsets = [(0, 1), (1, 9), (11, 20), (20, 21), (9, 10), (10, 11)]
    ((use, definitions),) = token_edges(edges, offsets)
    assert use.last == 5
    assert use.after is None
    assert [name.last for name in definitions] == [0, 3]
