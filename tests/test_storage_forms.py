"""Every form gives back the very tensor, and its bytes are counted by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from edgesparse.convert.encodings import encoded_bytes
from edgesparse.patterns import Array, mask, parse_pattern
from edgesparse.storage_forms import INDICES, POINTERS, VALUES, Stored, bsr, csr, decode, filters, n_of_m, plain

KERNELS = st.one_of(
    stn.arrays(
        np.float32, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.sampled_from([0, 0, 0, 1, -2.5])
    ),
    stn.arrays(np.int8, st.tuples(*[st.integers(1, 7)] * 4), elements=st.sampled_from([0, 0, -128, 3])),
)


@given(KERNELS, st.integers(1, 17), st.integers(1, 5))
def test_every_form_gives_back_the_very_tensor(kernel: Array, rows: int, cols: int) -> None:
    for stored in (plain(kernel), csr(kernel), bsr(kernel, rows, cols), filters(kernel)):
        back = decode(stored)
        assert back.dtype == kernel.dtype
        np.testing.assert_array_equal(back, kernel)
        assert stored.total_bytes == sum(stored.bytes.values()) <= stored.wide_bytes or stored.form == "plain"


@given(KERNELS, st.integers(2, 9), st.data())
def test_n_of_m_gives_back_the_tensor_or_says_that_it_cannot(kernel: Array, m: int, data: st.DataObject) -> None:
    n = data.draw(st.integers(1, m - 1))
    stored = n_of_m(kernel, n, m)
    padded = np.pad(kernel, [(0, 0)] * (kernel.ndim - 1) + [(0, -kernel.shape[-1] % m)])
    fits = ((padded.reshape(-1, m) != 0).sum(axis=1) <= n).all()
    assert (stored is not None) == fits
    if stored is not None:
        np.testing.assert_array_equal(decode(stored), kernel)


def pruned(pattern: str) -> Array:
    kernel = np.random.default_rng(0).normal(size=(64, 1, 1, 128)).astype(np.float32)
    return np.where(mask(kernel, parse_pattern(pattern), 0.5), kernel, np.float32(0))


@pytest.mark.parametrize(
    ("store", "pattern", "values", "indices", "pointers"),
    [
        (plain, "unstructured", 64 * 128 * 4, 0, 0),
        # 4096 values: indices below 128 take a byte, pointers up to 4096 two.
        (csr, "unstructured", 4096 * 4, 4096, 65 * 2),
        (lambda kernel: bsr(kernel, 2, 2), "block 2x2", 4096 * 4, 1024, 33 * 2),
        (lambda kernel: bsr(kernel, 4, 1), "block 4x1", 4096 * 4, 1024, 17 * 2),
        (lambda kernel: bsr(kernel, 16, 1), "block 16x1", 4096 * 4, 256, 5 * 2),
        (lambda kernel: n_of_m(kernel, 2, 4), "2:4", 4096 * 4, 4096 * 2 // 8, 0),
        (filters, "filter", 4096 * 4, 32, 0),
    ],
)
def test_bytes_are_those_counted_by_hand(
    store: Callable[[Array], Stored], pattern: str, values: int, indices: int, pointers: int
) -> None:
    kernel = pruned(pattern)
    stored = store(kernel)
    assert stored.bytes == {VALUES: values, INDICES: indices, POINTERS: pointers}
    assert stored.total_bytes == values + indices + pointers
    np.testing.assert_array_equal(decode(stored), kernel)


def test_wide_bytes_are_those_of_scipy() -> None:
    from scipy.sparse import bsr_matrix, csr_matrix

    kernel = pruned("unstructured")
    flat = kernel.reshape(64, 128)
    for stored, other in ((csr(kernel), csr_matrix(flat)), (bsr(kernel, 4, 2), bsr_matrix(flat, blocksize=(4, 2)))):
        assert stored.wide_bytes == other.data.nbytes + other.indices.nbytes + other.indptr.nbytes


def test_what_is_made_is_what_the_files_hold() -> None:
    for rows, cols in ((1, 1), (4, 1), (2, 2)):
        kernel = pruned("block 4x2")
        assert bsr(kernel, rows, cols).total_bytes == encoded_bytes(kernel, rows, cols)


def test_n_of_m_cannot_hold_other_zeros() -> None:
    assert n_of_m(pruned("unstructured"), 2, 4) is None
    assert n_of_m(pruned("filter"), 2, 4) is None


def test_a_kernel_without_non_zeros() -> None:
    kernel = np.zeros((4, 6), np.float32)
    for stored in (csr(kernel), bsr(kernel, 2, 2), filters(kernel), n_of_m(kernel, 2, 4)):
        assert stored is not None
        np.testing.assert_array_equal(decode(stored), kernel)
    assert filters(kernel).total_bytes == 0


def test_indices_are_as_wide_as_the_largest_asks() -> None:
    kernel = np.zeros((8, 1, 1, 300), np.int8)
    kernel[:, 0, 0, :10] = 1
    assert csr(kernel).total_bytes == 80 * (1 + 1) + 9
    kernel[0, 0, 0, 9], kernel[0, 0, 0, 299] = 0, 1
    assert csr(kernel).total_bytes == 80 * (1 + 2) + 9
