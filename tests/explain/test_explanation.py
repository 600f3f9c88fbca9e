from __future__ import annotations

import json

from recsys_lightning.explain.explanation import Effect, Explanation, Influence, Share


def test_an_explanation_is_plain_values() -> None:
    genre = Influence(0.5, 0.1, (Share("Drama", 0.4, 0.5, 0.3),))
    effects = (Effect("rates", "u", "b", "B", 1.5),)
    one = Explanation("u", "a", "A", 2.0, 1, {"base": 2.0}, "exact", effects, 0.5, influences={"genre": genre})
    plain = json.loads(json.dumps(one.to_dict()))
    assert plain["effects"] == [{"relation": "rates", "source": "u", "target": "b", "title": "B", "value": 1.5}]
    assert plain["influences"]["genre"]["common"][0]["affinity"] == 0.4
    assert plain["fidelity"] is None and plain["attention"] == [] and plain["rest"] == 0.5
