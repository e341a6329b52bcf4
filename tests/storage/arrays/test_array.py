"""A ZBigArray is indexed, assigned, grown and shown like a NumPy array."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import transaction

from wendelin import ZBigArray

KEYS: list[Any] = [
    np.s_[...],
    np.s_[:],
    np.s_[3],
    np.s_[-1],
    np.s_[2:5],
    np.s_[::-1],
    np.s_[1::3],
    np.s_[8:2:-2],
    np.s_[:, 4],
    np.s_[..., 0],
    np.s_[3, 4, 1],
    np.s_[3, 4],
    np.s_[3, ..., 1],
    np.s_[None],
    np.s_[:, None, 2],
    np.s_[3:3],
    np.s_[100:200],
    np.s_[()],
    np.s_[1:9, ::-1, 0],
    np.int64(2),
]


@pytest.fixture(params=["C", "F"])
def pair(request: pytest.FixtureRequest, root: Any) -> tuple[ZBigArray, np.ndarray]:
    shape = (11, 7, 3)
    expected = np.asarray(np.random.default_rng(0).normal(size=shape), order=request.param)
    root["a"] = array = ZBigArray(shape, order=request.param)
    array[...] = expected
    transaction.commit()
    return array, expected


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_basic_indexing_gives_what_numpy_gives(pair, key):
    array, expected = pair
    got, want = array[key], expected[key]
    assert type(got) is type(want)
    np.testing.assert_array_equal(got, want)
    if isinstance(want, np.ndarray):
        assert got.strides == want.strides
        assert got.flags.writeable
        assert want.size == 0 or np.shares_memory(got, array[...])


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_assignment_writes_what_numpy_writes(pair, key):
    array, expected = pair
    array[key] = 42
    expected[key] = 42
    np.testing.assert_array_equal(array[...], expected)
    transaction.commit()
    np.testing.assert_array_equal(array[...], expected)


def test_an_integer_array_without_axes_is_an_integer(pair):
    array, expected = pair
    np.testing.assert_array_equal(array[np.array(2)], expected[2])
    assert np.shares_memory(array[np.array(2)], array[...])


def test_attributes_are_those_of_the_ndarray(pair):
    array, expected = pair
    for name in ("shape", "dtype", "strides", "size", "nbytes", "ndim", "itemsize"):
        assert getattr(array, name) == getattr(expected, name), name
    assert len(array) == (expected.shape[-1] if array.order == "F" else len(expected))  # the major axis
    assert array[...].flags.c_contiguous == expected.flags.c_contiguous
    np.testing.assert_array_equal(array.T, expected.T)
    assert np.shares_memory(array.T, array[...])


def test_iteration_gives_views_of_rows(pair):
    array, expected = pair
    rows = list(array)
    assert len(rows) == 11
    np.testing.assert_array_equal(rows, expected)
    rows[2][...] = 1
    assert (array[2] == 1).all()


def test_asarray_does_not_copy(pair):
    array, _ = pair
    view = np.asarray(array)
    assert type(view) is np.ndarray
    assert np.shares_memory(view, array[...])
    view[0] = 5
    assert (array[0] == 5).all()
    assert not np.shares_memory(np.array(array, copy=True), view)
    assert np.asarray(array, dtype="f4").dtype == np.float32
    assert np.shares_memory(np.asarray(array, dtype="f8"), view)
    with pytest.raises(ValueError, match="needs a copy"):
        np.asarray(array, dtype="f4", copy=False)


def test_numpy_functions_take_the_array(pair):
    array, expected = pair
    assert np.mean(array) == expected.mean()
    np.testing.assert_array_equal(np.concatenate([array, array]), np.concatenate([expected, expected]))


@pytest.mark.parametrize(
    "key", [[1, 2], np.array([1, 2]), np.array([True] * 11), True, (slice(None), [0, 1])], ids=repr
)
def test_index_lists_and_masks_are_refused_with_advice(pair, key):
    array, _ = pair
    with pytest.raises(TypeError, match=r"A\[:\]\[index\]"):
        array[key]
    with pytest.raises(TypeError, match=r"A\[:\]\[index\] = value"):
        array[key] = 1


@pytest.mark.parametrize("key", [11, -12, (0, 7), (0, 0, 0, 0)], ids=repr)
def test_out_of_range_raises_index_error(pair, key):
    array, _ = pair
    with pytest.raises(IndexError):
        array[key]
    with pytest.raises(IndexError):
        array[key] = 1


def test_a_value_that_does_not_fit_changes_nothing(pair):
    array, expected = pair
    with pytest.raises(ValueError, match="broadcast"):
        array[2:4] = np.zeros(5)
    np.testing.assert_array_equal(array[...], expected)


STRUCTURED = np.dtype([("t", "i8"), ("power", "f4"), ("name", "S8"), ("xyz", "f8", (3,))])


def test_structured_arrays_give_views_of_fields(root):
    root["a"] = array = ZBigArray((100,), STRUCTURED)
    array["t"] = np.arange(100)
    array["power"][10:20] = 2.5
    array[5] = (7, 1.5, b"x", (1, 2, 3))
    transaction.commit()
    assert array.dtype == STRUCTURED
    assert array[5]["name"] == b"x"
    assert array["power"].sum() == pytest.approx(26.5)
    assert array[["t", "power"]].dtype.names == ("t", "power")
    assert np.shares_memory(array["xyz"], array[...])
    transaction.begin()
    np.testing.assert_array_equal(array["t"][6:], np.arange(6, 100))


@pytest.mark.parametrize("dtype", ["?", "i1", ">f8", "c16", "S5", "U5", "M8[ns]", "m8[s]", "V3", "f2"])
def test_fixed_size_dtypes_keep_their_meaning(root, conn, dtype):
    root["a"] = array = ZBigArray((10,), dtype)
    array[3] = np.ones(1, "i8").astype(dtype)[0] if dtype != "V3" else b"abc"
    want = array[:].copy()
    transaction.commit()
    conn.cacheMinimize()
    assert root["a"].dtype == np.dtype(dtype)
    assert root["a"][:].tobytes() == want.tobytes()


@pytest.mark.parametrize("dtype", [object, [("a", "O")], ("f8", (3,)), "V0"], ids=str)
def test_dtypes_without_a_fixed_scalar_are_refused(dtype):
    with pytest.raises(TypeError):
        ZBigArray((3,), dtype)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (((-1,),), ValueError),
        (("ab",), TypeError),
        (((1.5,),), TypeError),
        (((3,), "f8", "K"), ValueError),
        (((3,), "f8", "C", 1000), ValueError),
        (((3,), "f8", "C", 2048), ValueError),
    ],
)
def test_bad_constructor_arguments_name_the_value(arguments, error):
    with pytest.raises(error, match=r"(shape|order|blksize)="):
        ZBigArray(*arguments)


def test_an_array_larger_than_all_addresses_is_refused(root):
    root["a"] = array = ZBigArray((1 << 47,), "f8")
    with pytest.raises(MemoryError, match="does not fit"):
        array[0]


def test_a_zero_dimensional_array_holds_one_value(root):
    root["a"] = array = ZBigArray((), "i8")
    array[()] = 3
    transaction.commit()
    assert array[()] == 3
    assert array[...].shape == ()
    with pytest.raises(TypeError, match="without axes"):
        len(array)
    with pytest.raises(ValueError, match="cannot grow"):
        array.append(1)


@pytest.mark.parametrize("shape", [(0,), (0, 8), (3, 0)])
def test_empty_arrays(root, shape):
    root["a"] = array = ZBigArray(shape, "f4")
    assert array[...].shape == shape
    transaction.commit()
    assert array.nbytes == 0
    assert np.asarray(array).shape == shape


@pytest.mark.parametrize("order", ["C", "F"])
def test_append_grows_the_major_axis(root, order):
    shape = (0, 3) if order == "C" else (3, 0)
    root["a"] = array = ZBigArray(shape, "i8", order=order)
    rows = np.arange(30).reshape(10, 3)
    for row in rows:
        array.append(row)
        transaction.commit()
    array.append(rows if order == "C" else rows.T)
    want = np.concatenate([rows, rows])
    np.testing.assert_array_equal(array[...], want if order == "C" else want.T)
    transaction.abort()
    np.testing.assert_array_equal(array[...], rows if order == "C" else rows.T)


@pytest.mark.parametrize("values", [np.zeros((2, 4)), np.zeros(4), np.zeros((1, 2, 3)), 5])
def test_append_of_another_shape_changes_nothing(root, values):
    root["a"] = array = ZBigArray((2, 3))
    with pytest.raises(ValueError, match=r"give shape \(n, 3\)"):
        array.append(values)
    assert array.shape == (2, 3)


def test_growing_shows_zeros_and_shrinking_frees(root, tmp_path):
    root["a"] = array = ZBigArray((3 << 20,), "i8")
    array[:] = 7
    transaction.commit()
    array.resize(1000)
    assert array.shape == (1000,)
    array.resize((3 << 20,))
    assert (array[:1000] == 7).all()
    assert not array[1000:].any()
    transaction.commit()
    assert (array[:1000] == 7).all()
    assert not array[1000:].any()
    runs, _ = array.extents.lookup(0, 1 << 40)
    assert sum(run[1] for run in runs) * 4096 < 10_000


def test_an_aborted_resize_takes_everything_back(root):
    root["a"] = array = ZBigArray((3 << 20,), "i8")
    array[:] = np.arange(3 << 20)
    transaction.commit()
    view = array[:]
    array.resize(1000)
    assert not view[1000:].any()
    transaction.abort()
    assert array.shape == (3 << 20,)
    np.testing.assert_array_equal(array[:], np.arange(3 << 20))
    np.testing.assert_array_equal(view, np.arange(3 << 20))


def test_written_beyond_the_new_end_does_not_come_back(root):
    root["a"] = array = ZBigArray((5000,), "u1")
    old = array[:]
    old[:] = 1
    transaction.commit()
    array.resize(100)
    transaction.commit()
    old[50:] = 9  # an old view still reaches there
    transaction.commit()
    array.resize(5000)
    assert (array[50:100] == 9).all()
    assert not array[100:].any()


def test_an_array_outgrows_its_reservation(root, monkeypatch):
    from wendelin.storage.arrays import addresses

    monkeypatch.setattr(addresses, "MINIMUM", 1 << 16)
    root["a"] = array = ZBigArray((1 << 12,), "i8")
    array[:] = 1
    transaction.commit()
    array[5] = 6
    for k in range(4):
        array.resize(array.shape[0] * 8)
        array[-1] = k
    transaction.commit()
    assert array[5] == 6
    assert array[:].sum() == (1 << 12) + 5 + 0 + 1 + 2 + 3


def test_where_growing_in_place_is_impossible_living_views_forbid_it(root, monkeypatch):
    from wendelin.storage.arrays import addresses

    monkeypatch.setattr(addresses, "MINIMUM", 1 << 16)
    monkeypatch.setattr(addresses.Reservation, "extend", lambda self, nbytes: False)
    root["a"] = array = ZBigArray((1 << 12,), "i8")
    view = array[:]
    view[:] = 3
    with pytest.raises(MemoryError, match="delete the views"):
        array.resize(1 << 20)
    assert array.shape == (1 << 12,)
    del view
    array.resize(1 << 20)
    assert array[:].sum() == 3 << 12
    transaction.commit()
    assert array[:].sum() == 3 << 12


def test_reprs_say_what_it_is_and_read_no_data(root, conn, monkeypatch):
    root["a"] = array = ZBigArray((1 << 36,), "f4")
    transaction.commit()
    conn.cacheMinimize()
    monkeypatch.setattr(ZBigArray, "_memory", None)
    assert repr(array) == "<ZBigArray shape=(68719476736,) dtype=float32 order='C' 256 GiB>"
    assert "68,719,476,736" in array._repr_html_()


def test_a_sparse_terabyte_opens_and_stores_what_was_written(root, conn, detector):
    root["a"] = array = ZBigArray((1 << 37,), "f8")
    array[1 << 36 : (1 << 36) + 100] = 1.5
    array[-1] = 2
    transaction.commit()
    conn.cacheMinimize()
    assert root["a"][1 << 36 : (1 << 36) + 101].sum() == 150
    assert array[-1] == 2
    assert len(array.extents.lookup(0, 1 << 40)[0]) == 2
