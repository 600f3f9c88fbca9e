from __future__ import annotations

import numpy as np

from recsys_lightning.data.audit.case import EXAMPLES, listed
from tests.data.audit.worlds import clean


def test_what_is_seen_and_what_is_held_out_are_all_rows_once() -> None:
    case = clean("user_cold", val=5, test=5, shots=2)
    assert (case.seen ^ case.held).all()
    assert case.seen[case.prepared.mask("given")].all() and case.held[case.prepared.mask("val")].all()
    assert [name for name, _ in case.held_parts()] == ["val", "test"]


def test_rows_are_grouped_by_user_and_domain() -> None:
    alone, two = clean("random"), clean("random", domains=True)
    assert (alone.user_domain == alone.rows.user).all() and alone.place == ""
    assert two.prepared.domain is not None and two.place == " in the same domain"
    assert (two.user_domain // 2 == two.rows.user).all()
    assert (two.user_domain % 2 == two.prepared.domain[two.rows.item]).all()


def test_examples_are_raw_ids_and_few() -> None:
    case = clean("random")
    test = case.prepared.mask("test")
    named = case.pairs(test)
    assert len(named) == EXAMPLES and named == case.pairs(np.flatnonzero(test))
    row = np.flatnonzero(test)[0]
    user, item = case.rows.user_ids[case.rows.user[row]], case.rows.item_ids[case.rows.item[row]]
    assert named[0] == f"{user}, {item}"
    assert listed(named[:2]) == f"; for instance {named[0]}; {named[1]}" and listed(()) == ""
