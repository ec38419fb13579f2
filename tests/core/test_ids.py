from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from userfold.core.ids import Mint, make_id

ALPHABET = set("0123456789abcdefghjkmnpqrstvwxyz")  # Crockford's: no i, l, o, u
TIME_MS_MAX = (1 << 48) - 1
ENTROPY_MAX = (1 << 80) - 1

times = st.integers(0, TIME_MS_MAX)
entropies = st.integers(0, (1 << 160) - 1)


def test_an_id_is_the_ulid_of_its_time_and_entropy() -> None:
    assert make_id("user_", 0, 0) == "user_00000000000000000000000000"
    assert make_id("", 1, 0) == "00000000010000000000000000"
    assert make_id("", 0, 1) == "00000000000000000000000001"
    assert make_id("", 0, 32) == "00000000000000000000000010"
    assert make_id("", 1_469_918_176_385, ENTROPY_MAX) == "01aryz6s41zzzzzzzzzzzzzzzz"  # the ULID specification's time
    assert make_id("", TIME_MS_MAX, ENTROPY_MAX) == "7zzzzzzzzzzzzzzzzzzzzzzzzz"


@given(times, entropies)
def test_an_id_is_its_prefix_and_26_characters_of_crockfords_alphabet(at_ms: int, entropy: int) -> None:
    made = make_id("ses_", at_ms, entropy)
    assert made.startswith("ses_")
    assert len(made) == 4 + 26
    assert set(made[4:]) <= ALPHABET


@given(times, times, entropies, entropies)
def test_ids_sort_by_time(one_ms: int, other_ms: int, one: int, other: int) -> None:
    if one_ms < other_ms:
        assert make_id("user_", one_ms, one) < make_id("user_", other_ms, other)


@given(times, entropies, entropies)
def test_ids_of_one_millisecond_differ_exactly_where_80_bits_of_entropy_do(at_ms: int, one: int, other: int) -> None:
    same_bits = one & ENTROPY_MAX == other & ENTROPY_MAX
    assert (make_id("", at_ms, one) == make_id("", at_ms, other)) == same_bits


@given(times, st.integers(0, (1 << 160) - 1).filter(lambda entropy: entropy & ENTROPY_MAX < ENTROPY_MAX - 20))
def test_a_mint_makes_different_ids_that_sort_in_the_order_they_were_made(now_ms: int, entropy: int) -> None:
    mint = Mint(now_ms, entropy)
    made = [mint.id("idn_") for _ in range(20)]
    assert made == sorted(set(made))


def test_a_mint_with_the_same_inputs_makes_the_same_ids() -> None:
    one, other = Mint(5, 7), Mint(5, 7)
    assert [one.id("a_"), one.id("b_")] == [other.id("a_"), other.id("b_")]
    assert one.now == 5


def test_an_id_keeps_its_time_even_where_the_entropy_is_full() -> None:
    time_part = make_id("", 1000, 0)[:10]
    assert Mint(1000, ENTROPY_MAX).id("")[:10] == time_part
