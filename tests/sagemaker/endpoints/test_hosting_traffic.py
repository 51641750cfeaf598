"""Where the next request goes, and what is waited for before an instance ends."""

from __future__ import annotations

from collections import Counter

import pytest

from matinee.sagemaker.endpoints.hosting_traffic import (
    BusyError,
    Fleet,
    Instance,
    NoEndpointError,
    NoInstanceError,
    NoVariantError,
    Traffic,
    Variant,
)


def instances(count: int) -> tuple[Instance, ...]:
    return tuple(Instance(str(number), (("primary", number),)) for number in range(count))


def variant(name: str, weight: float = 1.0, count: int = 1, **ways: object) -> Variant:
    return Variant(name, weight, instances(count), **ways)  # type: ignore[arg-type]


def traffic(*variants: Variant) -> Traffic:
    table = Traffic()
    table.put("e", [fleet(*variants)])
    return table


def fleet(*variants: Variant, share: float = 1.0) -> Fleet:
    return Fleet({item.name: item for item in variants}, share)


def taken(table: Traffic, count: int) -> list[str]:
    found = []
    for _ in range(count):
        ticket = table.take("e")
        found.append(ticket.variant)
        table.give_back(ticket)
    return found


def test_weights_are_kept_as_evenly_as_can_be() -> None:
    table = traffic(variant("a", 2.0), variant("b", 1.0), variant("c", 0.0))
    assert taken(table, 6) == ["a", "b", "a", "a", "b", "a"]


def test_a_variant_without_weight_is_there_for_those_who_name_it() -> None:
    assert traffic(variant("a"), variant("b", 0.0)).take("e", "b").variant == "b"


def test_a_variant_that_runs_takes_over_for_one_that_does_not() -> None:
    table = traffic(variant("a", 9.0, count=0), variant("b"))
    assert set(taken(table, 3)) == {"b"}
    with pytest.raises(NoInstanceError):
        table.take("e", "a")


def test_instances_take_turns() -> None:
    table = traffic(variant("a", count=2))
    assert Counter(table.take("e").instance.id for _ in range(4)) == {"0": 2, "1": 2}


def test_or_the_one_with_the_fewest_requests_is_next() -> None:
    table = traffic(variant("a", count=2, least_outstanding=True))
    first = table.take("e")
    assert table.take("e").instance is not first.instance
    table.give_back(first)
    assert table.take("e").instance is first.instance


def test_one_that_was_tried_is_not_tried_again() -> None:
    table = traffic(variant("a", count=2))
    tried = [table.take("e").instance]
    assert table.take("e", without=tried).instance not in tried
    with pytest.raises(NoInstanceError):
        table.take("e", without=[*tried, table.take("e", without=tried).instance])


def test_a_limit_of_requests_at_once() -> None:
    table = traffic(variant("a", limit=1))
    ticket = table.take("e")
    with pytest.raises(BusyError):
        table.take("e")
    table.give_back(ticket)
    table.take("e")


def test_fleets_have_shares() -> None:
    table = Traffic()
    table.put("e", [fleet(variant("old"), share=0.75), fleet(variant("new"), share=0.25)])
    assert Counter(taken(table, 8)) == {"old": 6, "new": 2}


def test_an_instance_is_drained_when_its_last_request_is_answered() -> None:
    table = traffic(variant("a"))
    ticket = table.take("e")
    table.put("e", [fleet(variant("a"))])
    assert not table.drained(ticket.instance)
    assert table.take("e").instance is not ticket.instance
    table.give_back(ticket)
    assert table.drained(ticket.instance)


def test_what_is_not_there_is_said() -> None:
    table = traffic(variant("a"))
    with pytest.raises(NoEndpointError):
        table.take("none")
    with pytest.raises(NoVariantError):
        table.take("e", "none")
    table.remove("e")
    with pytest.raises(NoEndpointError):
        table.settings("e")
