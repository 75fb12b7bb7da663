"""The entry point of hypothesis: `from_type(Case)` then draws certified cases of all classes.

hypothesis calls `register` when it is imported, unless HYPOTHESIS_NO_PLUGINS is set; nothing heavy is imported before a problem is drawn.
"""

from __future__ import annotations


def register():
    """Register the strategy of `refbilevel.validation.cases.Case`."""
    from hypothesis import strategies as st

    from .cases.record import Case

    st.register_type_strategy(Case, _all)


def _all(type_):
    from .strategies import bilevel_problems

    return bilevel_problems("all")
