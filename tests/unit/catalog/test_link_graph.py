"""Whatever is asked of the catalog, in whatever order: what can be ordered leads to stock, and never in a circle."""

from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.catalog_model import Model, faults, some_operation


class AnyOperations(RuleBasedStateMachine):
    """Products come, change, are linked, unlinked, retyped, duplicated and removed; connections come and end."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()

    @rule(chance=st.randoms(use_true_random=False))
    def something_is_asked(self, chance: Random) -> None:
        self.model.apply(some_operation(chance, self.model))

    @invariant()
    def what_can_be_ordered_leads_to_stock(self) -> None:
        assert faults(self.model.living, self.model.cut) == []


TestAnyOperations = AnyOperations.TestCase
TestAnyOperations.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)


def test_the_operations_reach_what_the_rules_are_about() -> None:
    """Else nothing above could fail: every kind of operation is allowed and refused, chains reach their limit."""
    chance, model = Random(20261124), Model()
    outcomes: set[tuple[str, bool]] = set()
    longest = 0
    for _ in range(3000):
        operation = some_operation(chance, model)
        outcomes.add((operation.kind, model.apply(operation)))
        virtual = [[item for item in model.chain(one) if model.rows[item].type == "virtual"] for one in model.living]
        longest = max([longest, *map(len, virtual)])
        assert faults(model.living, model.cut) == []
    both_ways = {(kind, done) for kind in ("create", "change", "remove", "duplicate") for done in (True, False)}

    assert both_ways <= outcomes
    assert longest == 8
    assert model.cut
    assert {product.type for product in model.rows.values()} >= {
        "stock",
        "customisable",
        "configurable_stock",
        "virtual",
    }
