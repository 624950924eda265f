from hypothesis import given
from hypothesis import strategies as st

from services.tiny_llm.kv_blocks import BLOCK, Blocks, blocks_for


@given(st.lists(st.integers(0, 5), max_size=30))
def test_no_block_is_had_by_two_and_none_is_lost(wishes: list[int]) -> None:
    blocks = Blocks(8)
    held: list[list[int]] = []
    for wish in wishes:
        taken = blocks.take(wish)
        if taken is None:
            assert wish > blocks.free
            if held:
                blocks.give_back(held.pop(0))
        else:
            held.append(taken)
        had = [block for each in held for block in each]
        assert len(set(had)) == len(had) == blocks.used
        assert blocks.used + blocks.free == 8


def test_blocks_are_counted_up() -> None:
    assert [blocks_for(tokens) for tokens in (0, 1, BLOCK, BLOCK + 1)] == [0, 1, 1, 2]


def test_what_is_kept_is_found_by_who_goes_on_from_it_and_is_free_for_others() -> None:
    blocks = Blocks(4)
    first, second = blocks.take(1), blocks.take(2)
    assert first
    assert second
    blocks.keep((1, 2), first)
    blocks.keep((1, 2, 3), second)
    assert blocks.free == 4
    assert blocks.take_kept((1, 9, 9)) == (0, [])
    assert blocks.take_kept((1, 2, 3, 4)) == (3, second), "the longest"
    blocks.keep((1, 2, 3), second)
    assert blocks.take(2) is not None
    assert blocks.take_kept((1, 2)) == (0, []), "the oldest went first"
    assert blocks.take_kept((1, 2, 3)) == (3, second)
    assert blocks.free == 0


def test_the_same_kept_twice_is_kept_once_and_none_is_lost() -> None:
    blocks = Blocks(4)
    first, second = blocks.take(2), blocks.take(2)
    assert first
    assert second
    blocks.keep((1, 2), first)
    blocks.keep((1, 2), second)
    assert blocks.free == 4
    assert blocks.take_kept((1, 2)) == (2, second)
    assert blocks.free == 2
