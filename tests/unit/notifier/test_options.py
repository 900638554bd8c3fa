"""Which options and roles go with which format."""

from services.notifier.domain.options import misplaced, wrong_role

DEFAULTS = {"legacy_key": False, "only": None, "after": None, "dotted_names": False, "calls_per_second": None}


def test_an_option_of_another_format_is_misplaced_unless_it_says_nothing() -> None:
    assert misplaced("stock_level", {"legacy_key": True, "only": ["out"], "calls_per_second": 1.0}, DEFAULTS) == {}
    wrong = misplaced("fulfillment", {"legacy_key": True, "only": None, "after": 3}, DEFAULTS)
    assert wrong == {
        "legacy_key": "It is for the format stock_level; this endpoint's is fulfillment. Leave it out.",
    }
    assert misplaced("variant_stock", {"after": 0, "dotted_names": False}, DEFAULTS).keys() == {"after"}


def test_each_role_has_its_formats() -> None:
    assert wrong_role("stock_level", "retailer") is None
    assert wrong_role("variant_stock", "retailer") is None
    assert wrong_role("fulfillment", "supplier") is None
    assert wrong_role("fulfillment", "retailer") == (
        "Endpoints of the format fulfillment are for a supplier, and this is a retailer: register one of the format "
        "stock_level or variant_stock."
    )
    assert "register one of the format fulfillment" in str(wrong_role("stock_level", "supplier"))
