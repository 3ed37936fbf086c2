"""Label selectors with expressions: whether they are right, and what they match."""

from __future__ import annotations

from collections.abc import Mapping

from i2kit.manifest.table import Tree


def valid_expression(tree: Tree) -> bool:
    """Whether an expression could be read whole; values where there must be none, or none where they are needed, are a problem."""
    if "key" not in tree or "operator" not in tree or tree.broken("values"):
        return False
    operator, values = tree["operator"], tree.get("values") or []
    if bool(values) == (operator in ("In", "NotIn")):
        return True
    tree.problem(
        "invalid-value",
        f"{operator} {'takes no' if values else 'needs'} values",
        "values",
        expected="values for In and NotIn, none for Exists and DoesNotExist",
    )
    return False


def expression_holds(tree: Tree, labels: Mapping[str, str]) -> bool:
    """Whether labels fulfil a valid expression; a label that is not there is not in any list."""
    key, values = tree["key"], tree.get("values") or []
    matches = {
        "In": labels.get(key) in values,
        "NotIn": labels.get(key) not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }
    return matches[tree["operator"]]
