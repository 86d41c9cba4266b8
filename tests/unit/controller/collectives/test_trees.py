"""The shapes of trees."""

import pytest

from controller.collectives.trees import even_tree, inorder_tree, tree_of


def is_tree(tree, size):
    assert sorted(tree.order) == list(range(size))
    place = {rank: index for index, rank in enumerate(tree.order)}
    roots = [rank for rank in range(size) if tree.parents[rank] == rank]
    return len(roots) == 1 and all(place[tree.parents[rank]] < place[rank] for rank in range(size) if rank != roots[0])


@pytest.mark.parametrize("size", range(1, 40))
@pytest.mark.parametrize("shift", [0, 1])
def test_in_order_trees_are_binary_and_shallow(size, shift):
    tree = inorder_tree(size, shift)
    assert is_tree(tree, size)
    assert max(len(tree.children(rank)) for rank in range(size)) <= 2
    assert tree.depth <= size.bit_length()


@pytest.mark.parametrize("size", range(2, 40))
def test_of_two_trees_a_rank_is_inside_at_most_one(size):
    first, second = inorder_tree(size, 0), inorder_tree(size, 1)
    assert not [rank for rank in range(size) if first.children(rank) and second.children(rank)]


@pytest.mark.parametrize(
    ("size", "fanout", "depth"), [(1, 2, 0), (2, 2, 1), (3, 2, 1), (4, 2, 2), (8, 3, 2), (8, 7, 1)]
)
def test_even_trees_have_the_least_depth(size, fanout, depth):
    for root in range(size):
        tree = even_tree(size, fanout, root)
        assert is_tree(tree, size) and tree.order[0] == root
        assert tree.depth == depth
        assert max(len(tree.children(rank)) for rank in range(size)) <= fanout


def test_the_eight_rank_trees_by_hand():
    assert inorder_tree(8).parents == (1, 3, 1, 7, 5, 3, 5, 7)
    assert tree_of([0, 0, 1]).depth == 2
